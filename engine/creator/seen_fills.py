"""The fills that a creator shard has seen over the horizon, each with what it moved. Cost: about 50
bytes per fill, and its id.

Creator and execution id name a fill, because a creator has one broker. Its quantity, price, side
and instrument are kept for a later trade cancel or correct. Fills are forgotten by whole days. The
latest fills wait in a dict and are packed many at a time. The state's columns do not depend on when
that happens.
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np

from engine.columns.id_index import IdIndex
from engine.columns.state import State
from engine.columns.table import Table

BUCKET_NS = 24 * 3600 * 10**9
RECENT_MAX = 1024
FILL_COLUMNS = {
    "instrument": np.uint32,
    "side": np.int8,
    "standing": np.uint8,
    "quantity": np.int64,
    "price": np.int64,
}


_NO_DAY = 1 << 62


class FillStanding(IntEnum):
    """The standing of a fill: a trade that counts, a trade that was cancelled or corrected, or a
    cancel.
    """

    COUNTS = 0
    CANCELED = 1
    CORRECTED = 2
    IS_CANCEL = 3


class SeenFill(NamedTuple):
    """One fill, and the day and row under which it is kept."""

    day: int
    row: int
    instrument: int
    side: int
    standing: FillStanding
    quantity: int
    price: int


class _Day:
    def __init__(self) -> None:
        self.ids = IdIndex()
        self.fills = Table(FILL_COLUMNS)


class SeenFills:
    """The fills of one creator shard, by the day of their transact time."""

    def __init__(self) -> None:
        self._days: dict[int, _Day] = {}
        self._recent: dict[str, tuple[int, ...]] = {}
        self._first_day = _NO_DAY

    def find(self, creator: int, exec_id: str) -> SeenFill | None:
        """Find a fill."""
        name = _name(creator, exec_id)
        if name in self._recent:
            self._pack()
        for number, day in self._days.items():
            row = day.ids.find(name)
            if row is not None:
                instrument, side, standing, quantity, price = (
                    int(day.fills[column][row]) for column in FILL_COLUMNS
                )
                return SeenFill(
                    number, row, instrument, side, FillStanding(standing), quantity, price
                )
        return None

    def add(
        self,
        creator: int,
        exec_id: str,
        transact_time_ns: int,
        *,
        instrument: int,
        side: int,
        standing: FillStanding,
        quantity: int,
        price: int,
    ) -> None:
        """Add a fill that is new."""
        day = transact_time_ns // BUCKET_NS
        self._first_day = min(self._first_day, day)
        self._recent[_name(creator, exec_id)] = (day, instrument, side, standing, quantity, price)
        if len(self._recent) >= RECENT_MAX:
            self._pack()

    def _pack(self) -> None:
        by_day: dict[int, list[str]] = {}
        for name, (day, *_) in self._recent.items():
            by_day.setdefault(day, []).append(name)
        for number, names in by_day.items():
            of_day = self._days.setdefault(number, _Day())
            of_day.ids.add(names)
            rows = np.array([self._recent[name][1:] for name in names], np.int64)
            of_day.fills.append({name: rows[:, at] for at, name in enumerate(FILL_COLUMNS)})
        self._recent = {}

    def replace(self, fill: SeenFill, standing: FillStanding) -> None:
        """Set the standing of a fill that was cancelled or corrected."""
        self._days[fill.day].fills["standing"][fill.row] = standing

    def forget_before(self, time_ns: int) -> None:
        """Forget the days before a time."""
        oldest = time_ns // BUCKET_NS
        if self._first_day >= oldest:
            return
        self._pack()
        for day in [day for day in self._days if day < oldest]:
            del self._days[day]
        self._first_day = min(self._days, default=_NO_DAY)

    def state(self) -> State:
        """Return everything as columns."""
        self._pack()
        state: State = {"seen.day": np.array(sorted(self._days), np.int64)}
        for number, day in self._days.items():
            state |= {**day.ids.state(f"seen.{number}"), **day.fills.state(f"seen.{number}")}
        return state

    def restore(self, state: State) -> None:
        """Take everything back from a snapshot's columns."""
        days = state.get("seen.day")
        for number in () if days is None else days.tolist():
            day = self._days[number] = _Day()
            day.ids.restore(f"seen.{number}", state)
            day.fills.restore(f"seen.{number}", state)
        self._first_day = min(self._days, default=_NO_DAY)


def _name(creator: int, exec_id: str) -> str:
    return f"{creator}/{exec_id}"
