"""Events of a creator shard's journal: instruments, creators, their fills; follower shards read
signals from them.
"""

from typing import ClassVar

from engine.columns.sections import Ascending, Column, Section, Texts


class InstrumentsListed(Section, frozen=True):
    """A creator shard introduced instruments: `lots` in 1e-8 units, `min_notionals` in micros."""

    TAG: ClassVar[int] = 10
    numbers: Ascending
    symbols: Texts
    lots: Column
    min_notionals: Column


class CreatorsOpened(Section, frozen=True):
    """Creators began, each with cash; `commands` are 64-bit hashes of the command ids."""

    TAG: ClassVar[int] = 11
    numbers: Ascending
    ids: Texts
    brokers: Texts
    cash: Column
    commands: Column


class MarksUpdated(Section, frozen=True):
    """Instruments got new marks; within one section a later price of an instrument replaces an
    earlier one.
    """

    TAG: ClassVar[int] = 12
    instruments: Column
    prices: Column
    times: Column


class FillApplied(Section, frozen=True):
    """A creator's fill changed its portfolio; followers read their signals, one a leg, from this
    (`engine.follower.sizing.legs`).

    `signal` numbers the fill in its creator shard. `equity` is the creator's just before the fill,
    at `mark_prices`, which hold every instrument the creator has traded with the fill's own price
    as its instrument's mark. Positions are signed. `order_quantity` is 0 when the fill names no
    order. `sequence` is the ingress message's.
    """

    TAG: ClassVar[int] = 13
    signal: int
    creator: int
    instrument: int
    side: int
    quantity: int
    price: int
    transact_time: int
    order_quantity: int
    equity: int
    position_before: int
    position_after: int
    sequence: int
    broker: str
    exec_id: str
    order_id: str
    mark_instruments: Ascending
    mark_prices: Column


class FillCorrected(FillApplied, frozen=True):
    """A creator's earlier fill was cancelled or corrected; followers read the signals of the
    difference from this.

    As a fill it is the compensation: `side` and `quantity` are what the correction moves (0:
    nothing, no signal), `price` is the instrument's current mark. `exec_type` is TRADE_CANCEL or
    TRADE_CORRECT, `reference` the execution meant, which moved `old_quantity` at `old_price` on
    `old_side`; `new_quantity` and `new_price` are what counts instead (0 for a cancel).
    `cash_change` is the creator's.
    """

    TAG: ClassVar[int] = 16
    exec_type: int
    reference: str
    old_side: int
    old_quantity: int
    old_price: int
    new_quantity: int
    new_price: int
    cash_change: int


class CreatorSuspended(Section, frozen=True):
    """A creator's fill was quarantined: until the creator is resumed its followers copy no entries.

    `sequence` is the quarantined message's in the ingress stream, `position` the fill in it, -1 for
    all of it.
    """

    TAG: ClassVar[int] = 18
    creator: int
    sequence: int
    position: int


class CreatorResumed(Section, frozen=True):
    """An operator settled a creator's quarantined fills: `is_replay` says whether they are decided
    now, in this frame, or void. Entries are copied again from `signal` on; `command` is the hash of
    the command's id.
    """

    TAG: ClassVar[int] = 19
    creator: int
    signal: int
    is_replay: int
    command: int
    sequences: Column
    positions: Column
