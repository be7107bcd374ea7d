"""Account numbers of each follower shard. A number is never given to a second account."""

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.messages.blocks import AccountsRegistered, OrdersSubmitted
from engine.values.ids import DEDICATED_SHARDS_MAX, is_id

NUMBER_MAX = (1 << 27) - 1
"""Highest account number of a shard: the columns are indexed by number."""
_GROWTH = 1 << 12


class AccountNumbers:
    """Registered numbers. Each keeps a checksum of its id; 0 means not registered."""

    def __init__(self) -> None:
        self._checks: dict[int, NDArray[np.uint32]] = {}

    def refusal(self, shard: int, first: int, ids: Sequence[str]) -> str:
        """Return why accounts cannot be registered, empty when they can."""
        if not 0 <= shard < DEDICATED_SHARDS_MAX:
            return (
                f"accounts: follower_shard: expected 0 to {DEDICATED_SHARDS_MAX - 1}, found {shard}"
            )
        if first < 0 or first + len(ids) - 1 > NUMBER_MAX:
            return (
                f"accounts: expected numbers 0 to {NUMBER_MAX}, found "
                f"{first} to {first + len(ids) - 1}"
            )
        wrong = next((text for text in ids if not is_id(text)), None)
        if wrong is not None:
            return f"accounts: expected ids of 1 to 64 of [A-Za-z0-9_-], found {wrong[:70]!r}"
        known = self._known(shard, first, len(ids))
        clash = np.flatnonzero((known != 0) & (known != _checks(ids)))
        if len(clash):
            row = int(clash[0])
            return (
                f"accounts: number {first + row} of shard {shard} stands "
                f"for another account than {ids[row]!r}"
            )
        return ""

    def has_new(self, shard: int, first: int, ids: Sequence[str]) -> bool:
        """Return whether any of these numbers is not registered yet."""
        return not self._known(shard, first, len(ids)).all()

    def add(self, shard: int, first: int, ids: Sequence[str]) -> None:
        """Register accounts that `refusal` found nothing against."""
        end = first + len(ids)
        checks = self._checks.get(shard)
        if checks is None or len(checks) < end:
            # Untouched zero pages cost no memory, so doubling is cheap.
            grown = np.zeros(
                max(end, 2 * len(checks) if checks is not None else _GROWTH), np.uint32
            )
            if checks is not None:
                grown[: len(checks)] = checks
            self._checks[shard] = checks = grown
        checks[first:end] = _checks(ids)

    def unknown(self, shard: int, numbers: NDArray[np.int64]) -> int | None:
        """Return the first number that is not registered, None when all are. Shapes: not empty."""
        checks = self._checks.get(shard, np.zeros(0, np.uint32))
        if int(numbers.min()) < 0 or int(numbers.max()) >= len(checks):
            outside = (numbers < 0) | (numbers >= len(checks))
            return int(numbers[np.argmax(outside)])
        missing = checks[numbers] == 0
        return int(numbers[np.argmax(missing)]) if missing.any() else None

    def _known(self, shard: int, first: int, count: int) -> NDArray[np.uint32]:
        known = np.zeros(count, np.uint32)
        held = self._checks.get(shard, known[:0])[first : first + count]
        known[: len(held)] = held
        return known


class AccountNumbersOfBlock:
    """Account numbers while a block is checked: the registered ones, and those that the block
    registers before it uses them.
    """

    def __init__(self, known: AccountNumbers) -> None:
        self._known = known
        self._named: list[AccountsRegistered] = []

    def refusal(self, section: AccountsRegistered) -> str:
        """Return why a section's accounts cannot be registered, empty when they can."""
        refusal = self._known.refusal(section.follower_shard, section.first, section.ids)
        for earlier in self._named if not refusal else ():
            refusal = refusal or _clash(earlier, section)
        self._named.append(section)
        return refusal

    def unknown_refusal(self, orders: OrdersSubmitted) -> str:
        """Return why an orders section is refused for its accounts, empty when all are
        registered.
        """
        numbers = orders.accounts
        for section in self._named:
            if section.follower_shard == orders.follower_shard:
                inside = (numbers >= section.first) & (numbers < section.first + len(section.ids))
                numbers = numbers[~inside]
        unknown = self._known.unknown(orders.follower_shard, numbers) if len(numbers) else None
        if unknown is None:
            return ""
        return (
            "orders: accounts: expected registered numbers of shard "
            f"{orders.follower_shard}, found {unknown}; register it first"
        )


def _clash(earlier: AccountsRegistered, later: AccountsRegistered) -> str:
    if earlier.follower_shard != later.follower_shard:
        return ""
    for number in range(
        max(earlier.first, later.first),
        min(earlier.first + len(earlier.ids), later.first + len(later.ids)),
    ):
        if earlier.ids[number - earlier.first] != later.ids[number - later.first]:
            return (
                f"accounts: number {number} of shard {later.follower_shard} "
                "is given to two accounts in one block"
            )
    return ""


def _checks(ids: Sequence[str]) -> NDArray[np.uint32]:
    return np.fromiter((zlib.crc32(text.encode()) or 1 for text in ids), np.uint32, len(ids))
