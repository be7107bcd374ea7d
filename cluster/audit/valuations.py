"""P11 for creators: every fill was decided at the marks that counted for its creator, and at the
equity that follows from them.

Marks, cash and positions are worked out again from the events of the creator's journal, without the
code that decided. A mark is known by its time and by the order in which it came.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cluster.audit.report import Check
from engine.history.frames import JournalFrame
from engine.journal.events.creator import (
    BrokerMarksUpdated,
    CreatorsOpened,
    FillApplied,
    FillCorrected,
    InstrumentsListed,
    MarkSourceChosen,
    MarksUpdated,
)
from engine.values.units import QUANTITY_ONE, format_micros

_ALL = ""
"""The broker under which marks for everybody are kept."""


class _Mark(NamedTuple):
    time: int
    arrival: int
    price: int


@dataclass(slots=True)
class _Creator:
    creator_id: str
    broker: str
    cash: int
    positions: dict[int, int] = field(default_factory=dict)
    fills: dict[int, _Mark] = field(default_factory=dict)


class ValuationsAudit:
    """The valuations of one creator shard, frame by frame. Cost: 2 us for each instrument that a
    fill's creator has traded.
    """

    def __init__(self, shard: int, check: Check) -> None:
        self._shard = shard
        self._check = check
        self._creators: list[_Creator] = []
        self._symbols: list[str] = []
        self._market: dict[tuple[str, int], _Mark] = {}
        self._source: str | None = None
        self._arrivals = 0

    def take(self, frame: JournalFrame) -> None:
        """Check the fills of a frame. Faults are counted; nothing is raised."""
        for event in frame.events:
            self._take(frame.header.number, event)

    def _take(self, number: int, event: Any) -> None:
        match event:
            case InstrumentsListed():
                self._symbols += event.symbols
            case CreatorsOpened():
                rows = zip(event.ids, event.brokers, event.cash.tolist(), strict=True)
                self._creators += [_Creator(*row) for row in rows]
            case MarkSourceChosen():
                self._source = event.source
            case MarksUpdated():
                self._take_marks(number, event, _ALL)
            case BrokerMarksUpdated():
                self._take_marks(number, event, event.broker)
            case FillApplied() if event.creator < len(self._creators):
                self._take_fill(number, event, self._creators[event.creator])
            case _:
                pass

    def _take_marks(
        self, number: int, event: MarksUpdated | BrokerMarksUpdated, broker: str
    ) -> None:
        self._check.count("marks", len(event.instruments))
        if (broker == _ALL) is (self._source == ""):
            whose = f"of broker {broker}" if broker else "for every broker"
            self._check.fail(
                f"creator shard {self._shard}, frame {number}: expected marks of the source "
                f"{self._source!r} that was chosen, found marks {whose}"
            )
        columns = (event.instruments, event.times, event.prices)
        for instrument, time, price in zip(*(c.tolist() for c in columns), strict=True):
            self._market[broker, instrument] = self._next(time, price)

    def _next(self, time: int, price: int) -> _Mark:
        self._arrivals += 1
        return _Mark(time, self._arrivals, price)

    def _mark(self, creator: _Creator, instrument: int) -> int:
        """Return the price that values an instrument for a creator, 0 where none is known."""
        market = list(self._market_at(creator.broker, instrument))
        fill = creator.fills.get(instrument)
        if fill is not None and all(fill > mark for mark in market):
            return fill.price
        # Of two marks of one time the first one counts.
        return max(market, key=lambda mark: mark.time).price if market else 0

    def _market_at(self, broker: str, instrument: int) -> Iterator[_Mark]:
        for name in (_ALL, broker) if self._source else (broker, _ALL):
            if (name, instrument) in self._market:
                yield self._market[name, instrument]

    def _take_fill(self, number: int, event: FillApplied, creator: _Creator) -> None:
        self._check.count("fills_valued")
        where = (
            f"creator shard {self._shard}, frame {number}: creator {creator.creator_id}, fill "
            f"{event.exec_id}"
        )
        self._check_marks(where, event, creator)
        is_correction = isinstance(event, FillCorrected)
        if is_correction and event.price != self._mark(creator, event.instrument):
            self._check.fail(f"{where}: expected a correction at the current mark, found another")
        creator.positions[event.instrument] = event.position_after
        if isinstance(event, FillCorrected):
            creator.cash += event.cash_change
            return
        creator.cash -= event.side * _value(event.quantity, event.price, up=event.side > 0)
        mark = self._next(event.transact_time, event.price)
        if self._source is not None:
            old = creator.fills.get(event.instrument, mark)
            creator.fills[event.instrument] = max(mark, old)
        elif mark > self._market.get((_ALL, event.instrument), mark[:1]):
            self._market[_ALL, event.instrument] = mark

    def _check_marks(self, where: str, event: FillApplied, creator: _Creator) -> None:
        expected = {
            instrument: self._mark(creator, instrument) for instrument in sorted(creator.positions)
        } | {event.instrument: event.price}
        instruments, prices = event.mark_instruments.tolist(), event.mark_prices.tolist()
        found = dict(zip(instruments, prices, strict=False))
        for instrument, price in expected.items():
            if found.get(instrument) != price:
                self._check.fail(
                    f"{where}: expected {self._symbol(instrument)} valued at "
                    f"{format_micros(price)}, found {_shown(found.get(instrument))}"
                )
                return
        if instruments != sorted(expected) or len(prices) != len(instruments):
            self._check.fail(f"{where}: expected marks of what it has traded, found others")
            return
        equity = creator.cash + sum(
            _value(held, expected[instrument]) for instrument, held in creator.positions.items()
        )
        if event.equity != equity:
            self._check.fail(
                f"{where}: expected the creator's equity {format_micros(equity)}, found "
                f"{format_micros(event.equity)}"
            )

    def _symbol(self, instrument: int) -> str:
        known = instrument < len(self._symbols)
        return self._symbols[instrument] if known else f"instrument {instrument}"


def _value(quantity: int, price: int, *, up: bool = False) -> int:
    """Return what a quantity is worth. Rounds: down, or up."""
    return -(-quantity * price // QUANTITY_ONE) if up else quantity * price // QUANTITY_ONE


def _shown(price: int | None) -> str:
    return "no mark" if price is None else format_micros(price)
