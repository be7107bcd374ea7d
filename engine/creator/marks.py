"""The marks of a creator shard: the prices at which its creators, and those who follow them, are
valued.

An operator chooses the source whose marks are trusted. The choice is journaled, so that a replay
values everything as it was valued then (P6).

    source        a market mark values         the price of a creator's fill values
    not chosen    everybody                    everybody: journals of before the choice
    ""            the creators of its broker   that creator
    NAME          everybody                    that creator

The price of a fill counts until a market mark comes that is not older. Otherwise a creator is
valued at the newer of two market marks: the one for everybody, and the one of its broker. So what
counted before a choice counts until a newer mark comes. Of two marks of one time the one for
everybody counts if a source is named, else the broker's.

Cost: about 200 bytes for each mark of a broker, and for each fill's price that still counts.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from engine.columns.codec import decode_texts, encode_texts
from engine.columns.state import AnyColumn, State
from engine.columns.table import Table
from engine.creator.account import Creator
from engine.journal.events.creator import BrokerMarksUpdated, MarkSourceChosen, MarksUpdated
from engine.values.refusals import Refused

PER_BROKER = ""
"""The source that stands for each broker's own marks."""


class Mark(NamedTuple):
    """A price and its time. Units: micros, ns."""

    price: int
    time: int


class BrokerMarks:
    """What is known at one broker: its marks, and the prices of its creators' fills that still
    count, by instrument and creator.
    """

    __slots__ = ("fills", "market")

    def __init__(self) -> None:
        self.market: dict[int, Mark] = {}
        self.fills: dict[int, dict[int, Mark]] = {}

    def end_fills(self, instrument: int, time: int) -> None:
        """Let a market mark take the place of the fills that are not newer."""
        fills = self.fills.get(instrument)
        if not fills:
            return
        newer = {creator: mark for creator, mark in fills.items() if mark.time > time}
        if newer:
            self.fills[instrument] = newer
        else:
            del self.fills[instrument]


_NOTHING = BrokerMarks()


class CreatorMarks(NamedTuple):
    """The marks that value one creator. `prices` and `times` are those for everybody, by
    instrument.
    """

    creator: int
    prices: AnyColumn
    times: AnyColumn
    broker: BrokerMarks
    prefers_broker: bool
    """Whether the broker's mark counts where both have the same time."""

    def prices_of(self, instruments: Sequence[int]) -> list[int]:
        """Return the price of each instrument, 0 where no mark was ever known."""
        fills, creator, found = self.broker.fills, self.creator, []
        for instrument in instruments:
            of_creators = fills.get(instrument)
            fill = of_creators.get(creator) if of_creators else None
            found.append((fill or self.market(instrument)).price)
        return found

    def market(self, instrument: int) -> Mark:
        """Return an instrument's market mark: the newer of the broker's and the one for all."""
        own, time = self.broker.market.get(instrument), int(self.times[instrument])
        if own is not None and own.time + self.prefers_broker > time:
            return own
        return Mark(int(self.prices[instrument]), time)


class Marks:
    """The marks of one creator shard. The columns `mark` and `mark_time` of its instruments hold
    the marks for everybody.
    """

    def __init__(self, instruments: Table) -> None:
        self._instruments = instruments
        self._of_broker: dict[str, BrokerMarks] = {}
        self.source: str | None = None
        """The source that was chosen last, None before the first choice."""

    def of(self, creator: Creator) -> CreatorMarks:
        """The marks that value a creator."""
        return self._view(creator.number, creator.broker)

    def _view(self, creator: int, broker: str) -> CreatorMarks:
        table, known = self._instruments, self._of_broker.get(broker, _NOTHING)
        return CreatorMarks(creator, table["mark"], table["mark_time"], known, not self.source)

    # Deciding.

    def decide_source(self, source: str) -> MarkSourceChosen | None:
        """Return the event that chooses a source, None if it is chosen already."""
        return None if source == self.source else MarkSourceChosen(source)

    def decide(
        self, broker: str, marks: Mapping[int, Mark]
    ) -> MarksUpdated | BrokerMarksUpdated | None:
        """Return the event of a source's new marks by instrument, None when there are none. A mark
        older than the market mark that it would replace is left out.
        """
        # Nobody is at the broker without a name: only the marks for everybody count there.
        known = self._view(_MARKET, broker if self.source == PER_BROKER else "")
        new = [
            number for number in sorted(marks) if marks[number].time >= known.market(number).time
        ]
        if not new:
            return None
        columns = (
            np.array(new, np.int64),
            np.array([marks[number].price for number in new], np.int64),
            np.array([marks[number].time for number in new], np.int64),
        )
        if self.source == PER_BROKER:
            return BrokerMarksUpdated(broker, *columns)
        return MarksUpdated(*columns)

    # Applying.

    def apply(self, event: MarkSourceChosen | MarksUpdated | BrokerMarksUpdated) -> None:
        """Change the state by one event."""
        match event:
            case MarkSourceChosen():
                self.source = event.source
            case MarksUpdated():
                self._instruments["mark"][event.instruments] = event.prices
                self._instruments["mark_time"][event.instruments] = event.times
                for known in self._of_broker.values():
                    if known.fills:
                        _end_fills(known, event)
            case BrokerMarksUpdated():
                known = self._of_broker.setdefault(event.broker, BrokerMarks())
                columns = (event.instruments, event.prices, event.times)
                rows = zip(*(column.tolist() for column in columns), strict=True)
                known.market.update((row[0], Mark(*row[1:])) for row in rows)
                _end_fills(known, event)

    def apply_fill(self, creator: Creator, instrument: int, mark: Mark) -> None:
        """Let a fill's price be a mark, unless a later market mark is known."""
        if mark.time < self.of(creator).market(instrument).time:
            return
        if self.source is None:
            self._instruments["mark"][instrument] = mark.price
            self._instruments["mark_time"][instrument] = mark.time
            return
        fills = self._of_broker.setdefault(creator.broker, BrokerMarks()).fills
        of_creators = fills.setdefault(instrument, {})
        if mark.time >= of_creators.get(creator.number, mark).time:
            of_creators[creator.number] = mark

    # The state as columns.

    def state(self) -> State:
        """Return what the instruments' columns do not hold; no column before a source is chosen."""
        if self.source is None:
            return {}
        brokers = sorted(self._of_broker)
        columns = np.array(list(self._rows(brokers)), np.int64).reshape(-1, 5).T
        return {
            "mark.source": np.frombuffer(encode_texts([self.source]), np.uint8),
            "mark.brokers": np.frombuffer(encode_texts(brokers), np.uint8),
            **{name: column.copy() for name, column in zip(_ROW_COLUMNS, columns, strict=True)},
        }

    def _rows(self, brokers: Sequence[str]) -> Iterator[tuple[int, ...]]:
        for at, broker in enumerate(brokers):
            known = self._of_broker[broker]
            for instrument, mark in sorted(known.market.items()):
                yield at, instrument, _MARKET, *mark
            for instrument, of_creators in sorted(known.fills.items()):
                for creator, mark in sorted(of_creators.items()):
                    yield at, instrument, creator, *mark

    def restore(self, state: State) -> None:
        """Take everything back from a snapshot's columns."""
        if "mark.source" not in state:
            return
        ((self.source,), _), (brokers, _) = (
            decode_texts(state[name].tobytes()) for name in ("mark.source", "mark.brokers")
        )
        known = [self._of_broker.setdefault(broker, BrokerMarks()) for broker in brokers]
        rows = (state[name].tolist() for name in _ROW_COLUMNS)
        for at, instrument, creator, price, time in zip(*rows, strict=True):
            if creator == _MARKET:
                known[at].market[instrument] = Mark(price, time)
            else:
                known[at].fills.setdefault(instrument, {})[creator] = Mark(price, time)


_MARKET = -1
"""Stands for the creator in the row of a market mark."""
_ROW_COLUMNS = ("mark.broker", "mark.instrument", "mark.creator", "mark.price", "mark.time")
MARK_COLUMNS = ("mark.source", "mark.brokers", *_ROW_COLUMNS)
"""The columns that a state may have for its marks."""


def _end_fills(known: BrokerMarks, event: MarksUpdated | BrokerMarksUpdated) -> None:
    for instrument, time in zip(event.instruments.tolist(), event.times.tolist(), strict=True):
        known.end_fills(instrument, time)


def check_source(name: str, source: str, brokers: Sequence[str]) -> Refused | None:
    """Refuse marks of a source that is not trusted, or of a broker that is not configured."""
    if source not in (PER_BROKER, name):
        return Refused(
            "untrusted_source",
            f"marks.{name}: expected marks of {source}, the only source that marks.source trusts,"
            f" found those of {name}",
        )
    if source == PER_BROKER and name not in brokers:
        return Refused(
            "unknown_broker",
            f"marks.{name}: expected one of {', '.join(brokers)}, found {name}; configure the"
            " broker, or name the source in marks.source",
        )
    return None
