"""Identities: which ids are allowed, which shard owns one, and what an order id is made of.

An order id is the order's coordinates, not a hash (P1): two orders with one id would be one
decision taken twice. Packed in 128 bits, high to low: follower shard 14, cause kind 2, creator
shard 12, cause number 36 | subscription 32, leg 12, attempt 20. All orders that one signal causes
in one shard therefore share the high 64 bits.
"""

from enum import IntEnum
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

_BASE32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_BASE32_VALUE = {letter: value for value, letter in enumerate(_BASE32)}


class OrderKey(NamedTuple):
    """What the orders of one block share: their cause, leg and attempt."""

    cause_kind: int
    creator_shard: int
    cause_number: int
    leg: int
    attempt: int

    def after(self, attempt: int) -> "OrderKey":
        """Name the attempt after one of the same cause."""
        return self._replace(attempt=min(attempt + 1, ATTEMPT_MAX))


class OfOrders(Protocol):
    """What is about orders that share a cause, a leg and an attempt: reports, and what is applied
    of them.
    """

    @property
    def cause_kind(self) -> int: ...
    @property
    def creator_shard(self) -> int: ...
    @property
    def cause_number(self) -> int: ...
    @property
    def leg(self) -> int: ...
    @property
    def attempt(self) -> int: ...


class OfCause(Protocol):
    """What says whose orders it is about, and their cause beside that: what is placed, queued,
    corrected.
    """

    @property
    def cause_kind(self) -> int: ...
    @property
    def cause_creator_shard(self) -> int: ...
    @property
    def cause_number(self) -> int: ...
    @property
    def leg(self) -> int: ...
    @property
    def attempt(self) -> int: ...


def key_of_cause(about: OfCause) -> OrderKey:
    """Name what the orders of an event share that names the creator's own shard too."""
    return OrderKey(
        about.cause_kind, about.cause_creator_shard, about.cause_number, about.leg, about.attempt
    )


def key_of(about: OfOrders) -> OrderKey:
    """Name what the orders of a report or an event share."""
    return OrderKey(
        about.cause_kind, about.creator_shard, about.cause_number, about.leg, about.attempt
    )


class CauseKind(IntEnum):
    """What an order follows from."""

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
    def high(self) -> int:
        """The upper 64 bits: the cause, shared by every order of it in the shard."""
        return cause_high(self.shard, self.cause_kind, self.creator_shard, self.cause_number)

    @property
    def low(self) -> int:
        """The lower 64 bits: which subscription, leg and attempt."""
        return self.subscription << 32 | self.leg << 20 | self.attempt

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


def order_lows(subscriptions: NDArray[np.uint32], leg: int, attempt: int) -> NDArray[np.uint64]:
    """Pack the lower 64 bits of many orders of one leg and attempt."""
    assert 0 <= leg <= LEG_MAX and 0 <= attempt <= ATTEMPT_MAX
    return subscriptions.astype(np.uint64) << np.uint64(32) | np.uint64(leg << 20 | attempt)


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
    """Show an order id as 26 base32 characters (Crockford's alphabet, most significant first)."""
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
