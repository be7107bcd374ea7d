"""Order ids and the keys that groups of orders share.

An order id is the order's coordinates, not a hash (P1): two orders with one id would be the same
decision, taken twice. Packed in 128 bits, high to low: follower shard 14, cause kind 2, creator
shard 12, cause number 36 | subscription 32, leg 12, attempt 20. So all orders that one signal
causes in one shard share the high 64 bits.
"""

from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

_BASE32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_BASE32_VALUE = {letter: value for value, letter in enumerate(_BASE32)}


class OrderKey(NamedTuple):
    """The key that the orders of one group share: cause, leg and attempt."""

    cause_kind: int
    creator_shard: int
    cause_number: int
    leg: int
    attempt: int

    def high(self, shard: int) -> int:
        """Return the upper 64 bits of the orders' ids in a follower shard."""
        return cause_high(shard, self.cause_kind, self.creator_shard, self.cause_number)

    def low(self, subscription: int) -> int:
        """Return the lower 64 bits of the id of a subscription's order."""
        return subscription << 32 | self.leg << 20 | self.attempt

    def order_id(self, shard: int, subscription: int) -> "OrderId":
        """Return the coordinates of a subscription's order in a follower shard."""
        kind, creator_shard, cause_number, leg, attempt = self
        return OrderId(
            shard, CauseKind(kind), creator_shard, cause_number, subscription, leg, attempt
        )

    def columns(self, count: int) -> list[NDArray[np.int64]]:
        """Return the key as columns of `count` equal rows, in the order of its parts."""
        return list(np.repeat(np.array([self], np.int64).T, count, axis=1))

    def after(self, attempt: int) -> "OrderKey":
        """Return the key of the attempt after one of the same cause."""
        return self._replace(attempt=min(attempt + 1, ATTEMPT_MAX))


class CauseKind(IntEnum):
    """The kinds of causes that an order follows from."""

    SIGNAL = 0
    COMMAND = 1
    RUN = 2


class OrderId(NamedTuple):
    """The coordinates of one order."""

    shard: int
    cause_kind: CauseKind
    creator_shard: int
    cause_number: int
    subscription: int
    leg: int
    attempt: int

    @property
    def key(self) -> OrderKey:
        """The key that the order shares with others of its cause, leg and attempt."""
        return OrderKey(
            self.cause_kind, self.creator_shard, self.cause_number, self.leg, self.attempt
        )

    @property
    def high(self) -> int:
        """The upper 64 bits: the cause, shared by every order of it in the shard."""
        return self.key.high(self.shard)

    @property
    def low(self) -> int:
        """The lower 64 bits: subscription, leg and attempt."""
        return self.key.low(self.subscription)

    def __str__(self) -> str:
        return format_order_id(self.high, self.low)


LEG_MAX = (1 << 12) - 1
ATTEMPT_MAX = (1 << 20) - 1


def cause_high(shard: int, cause_kind: int, creator_shard: int, cause_number: int) -> int:
    """Pack the upper 64 bits of the ids of one cause's orders."""
    assert (
        0 <= shard < 1 << 14
        and 0 <= cause_kind < 4
        and 0 <= creator_shard < 1 << 12
        and 0 <= cause_number < 1 << 36
    )
    return shard << 50 | cause_kind << 48 | creator_shard << 36 | cause_number


def order_tails(legs: NDArray[np.int64], attempts: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Pack legs and attempts as the lower 64 bits of order ids hold them."""
    return (legs << 20 | attempts).view(np.uint64)


def order_lows(
    subscriptions: NDArray[np.integer], tails: NDArray[np.uint64] | np.uint64
) -> NDArray[np.uint64]:
    """Pack the lower 64 bits of many order ids. `tails` are of `order_tails`, one for each or one
    for all.
    """
    return subscriptions.astype(np.uint64) << np.uint64(32) | tails


class OrderColumns(Protocol):
    """A section whose rows name orders by their coordinates, all of one follower shard."""

    @property
    def cause_kinds(self) -> NDArray[np.int64]: ...
    @property
    def creator_shards(self) -> NDArray[np.int64]: ...
    @property
    def cause_numbers(self) -> NDArray[np.int64]: ...
    @property
    def legs(self) -> NDArray[np.int64]: ...
    @property
    def attempts(self) -> NDArray[np.int64]: ...
    @property
    def subscriptions(self) -> NDArray[np.int64]: ...


def orders_by_key(named: OrderColumns) -> Iterator[tuple[OrderKey, NDArray[np.int64]]]:
    """Yield the orders that a section names: each key once, in order, with its subscriptions,
    ascending.
    """
    columns = (
        named.cause_kinds,
        named.creator_shards,
        named.cause_numbers,
        named.legs,
        named.attempts,
    )
    keys, of_row = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)
    order = np.argsort(of_row.reshape(-1), kind="stable")
    ends = np.cumsum(np.bincount(of_row.reshape(-1), minlength=len(keys)))
    for number, key in enumerate(keys.tolist()):
        start = int(ends[number - 1]) if number else 0
        yield OrderKey(*key), np.sort(named.subscriptions[order[start : ends[number]]])


def unpack_order_id(high: int, low: int) -> OrderId:
    """Take an order id apart."""
    return OrderId(
        high >> 50,
        CauseKind(high >> 48 & 3),
        high >> 36 & 0xFFF,
        high & (1 << 36) - 1,
        low >> 32,
        low >> 20 & 0xFFF,
        low & 0xFFFFF,
    )


def format_order_id(high: int, low: int) -> str:
    """Return an order id as 26 base32 characters (Crockford's alphabet, most significant first)."""
    value = int(high) << 64 | int(low)
    return "".join(_BASE32[value >> shift & 31] for shift in range(125, -1, -5))


def parse_order_id(text: str) -> tuple[int, int]:
    """Read an order id's two halves. Raises: ValueError unless it is 26 base32 characters of 128
    bits.
    """
    if len(text) != 26 or any(letter not in _BASE32_VALUE for letter in text):
        raise ValueError(f"order id: expected 26 characters of {_BASE32}, found {text[:40]!r}")
    value = 0
    for letter in text:
        value = value << 5 | _BASE32_VALUE[letter]
    if value >> 128:
        raise ValueError(f"order id: expected 128 bits, found more in {text!r}")
    return value >> 64, value & (1 << 64) - 1
