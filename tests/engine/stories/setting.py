"""The vocabulary of a random story: its setting and its steps.

Steps are small tuples of integers, read against the state (the n-th open order, the n-th account).
So any list of them is a story, and Hypothesis can shorten one that fails.
"""

from typing import NamedTuple

from tests.reference.values import SleeveTerms


class Sleeving(NamedTuple):
    """The terms on which one account follows one creator. Units: micros."""

    account: int
    creator: int
    cash: int
    mode: str
    ratio: int
    amount: int
    max_order_notional: int
    max_position_weight: int
    allow_short: bool


class Step(NamedTuple):
    """One step: its kind, and three numbers that choose."""

    kind: str
    a: int
    b: int
    c: int


class Setting(NamedTuple):
    """The state before the first step: an instrument is (lot, minimum notional), a creator its
    cash.
    """

    instruments: list[tuple[int, int]]
    creators: list[int]
    sleeves: list[Sleeving]
    fee_rate: int
    part_rows: list[int]
    price: int
    quantity: int
    brokers: tuple[str, ...] = ("paper",)
    """The brokers of the creators, in turn."""


def terms_of(sleeve: Sleeving) -> SleeveTerms:
    """Return how a subscription copies."""
    return SleeveTerms(
        cash=sleeve.cash,
        mode=sleeve.mode,
        ratio=sleeve.ratio,
        amount=sleeve.amount,
        max_order_notional=sleeve.max_order_notional,
        max_position_weight=sleeve.max_position_weight,
        allow_short=sleeve.allow_short,
    )
