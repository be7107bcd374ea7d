"""Events of a creator shard's journal: instruments, creators and their fills. Follower shards read
signals from them.
"""

from typing import ClassVar

from engine.columns.section_types import Ascending, Column, Section, Texts


class InstrumentsListed(Section, frozen=True):
    """A creator shard introduced instruments. Units: `lots` 1e-8, `min_notionals` micros."""

    TAG: ClassVar[int] = 10
    numbers: Ascending
    symbols: Texts
    lots: Column
    min_notionals: Column


class CreatorsOpened(Section, frozen=True):
    """Creators were opened, each with cash. `commands` are 64-bit hashes of the command ids."""

    TAG: ClassVar[int] = 11
    numbers: Ascending
    ids: Texts
    brokers: Texts
    cash: Column
    commands: Column


class MarksUpdated(Section, frozen=True):
    """Instruments got new marks, which value the creators of every broker. Within one section, a
    later price of an instrument replaces an earlier one.
    """

    TAG: ClassVar[int] = 12
    instruments: Column
    prices: Column
    times: Column


class MarkSourceChosen(Section, frozen=True):
    """An operator chose whose marks are trusted: those of one source for everybody, or with an
    empty `source` those of each broker for its own creators. Later events are decided accordingly.
    """

    TAG: ClassVar[int] = 60
    source: str


class BrokerMarksUpdated(Section, frozen=True):
    """Instruments got new marks, which value the creators of one broker. No instrument is named
    twice.
    """

    TAG: ClassVar[int] = 61
    broker: str
    instruments: Ascending
    prices: Column
    times: Column


class FillApplied(Section, frozen=True):
    """A creator's fill changed its portfolio. Followers read their signals from it, one per leg
    (`engine.follower.sizing.legs`).

    `signal` numbers the fill in its creator shard. `equity` is the creator's equity just before the
    fill, at `mark_prices`. These hold every instrument that the creator has traded; the instrument
    of the fill is valued at the fill's own price. Positions are signed. `order_quantity` is 0 if
    the fill names no order. `sequence` is that of the ingress message.
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
    """A creator's earlier fill was cancelled or corrected. Followers read the signals of the
    difference from it.

    The fields of a fill are those of the compensation: `side` and `quantity` are the change of the
    position (0: no change, no signal), and `price` is the instrument's current mark. `exec_type` is
    TRADE_CANCEL or TRADE_CORRECT. `reference` names the earlier execution, which moved
    `old_quantity` at `old_price` on `old_side`. `new_quantity` and `new_price` count instead (0 for
    a cancel). `cash_change` is that of the creator's cash.
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
    """A creator's fill was quarantined. Its followers copy no entries until the creator is resumed.

    `sequence` is that of the quarantined message in the ingress stream. `position` is the fill's
    place in it, -1 for the whole message.
    """

    TAG: ClassVar[int] = 18
    creator: int
    sequence: int
    position: int


class CreatorResumed(Section, frozen=True):
    """An operator settled a creator's quarantined fills. With `is_replay` they are decided in this
    frame; otherwise they are void. Entries are copied again from `signal` on. `command` is the hash
    of the command's id.
    """

    TAG: ClassVar[int] = 19
    creator: int
    signal: int
    is_replay: int
    command: int
    sequences: Column
    positions: Column
