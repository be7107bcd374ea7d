"""Follow-ups: causes that are not done for some rows of one instrument, found by row.

A row has at most one follow-up: a newer one replaces it. It waits for cancels to be answered (`due`
0), or for an exit's next attempt at `due` ns. A column holds the number of each row's group, so a
look-up costs the rows of the report, however many groups wait.
"""

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.values.order_ids import OrderKey

_Rows = NDArray[np.int64]
_NONE: NDArray[np.int64] = np.zeros(0, np.int64)


class FollowUp(NamedTuple):
    """The rows of one cause. `price` and `transact_time` are those of the signal that decided last;
    `rows` are those at the start.
    """

    key: OrderKey
    price: int
    transact_time: int
    due: int
    rows: _Rows


class FollowUps:
    """All follow-ups of one instrument in a book, in groups numbered from 1 in order of arrival."""

    __slots__ = ("_due", "_groups", "_last", "_left", "_of_row", "_waiting_count", "count")

    def __init__(self) -> None:
        self._of_row: NDArray[np.int64] = _NONE
        """The number of each row's group: positive where it waits for cancels, negative where it
        waits for a time, 0 for none.
        """
        self._groups: dict[int, FollowUp] = {}
        self._left: dict[int, int] = {}
        self._due: list[tuple[int, int]] = []
        self._last = 0
        self._waiting_count = 0
        self.count = 0

    def __bool__(self) -> bool:
        return self.count > 0

    def __iter__(self) -> Iterator[FollowUp]:
        """Yield the groups in order of arrival, each with the rows that are left of it."""
        for number, group in self._groups.items():
            yield group._replace(rows=self._left_of(number, group))

    def add(self, group: FollowUp) -> None:
        """Queue a follow-up of some rows. It replaces what was queued for them."""
        rows = group.rows
        self.drop(rows)
        self._last += 1
        number = self._last
        self._make_room(int(rows.max()) + 1)
        self._of_row[rows] = -number if group.due else number
        self._groups[number] = group
        self._left[number] = len(rows)
        self.count += len(rows)
        if group.due:
            heappush(self._due, (group.due, number))
        else:
            self._waiting_count += len(rows)

    def _make_room(self, count: int) -> None:
        if len(self._of_row) < count:
            larger = np.zeros(max(count, 2 * len(self._of_row)), np.int64)
            larger[: len(self._of_row)] = self._of_row
            self._of_row = larger

    def drop(self, rows: _Rows) -> None:
        """Drop what is queued for some rows."""
        if not self.count:
            return
        rows = rows[rows < len(self._of_row)]
        numbers = self._of_row[rows]
        if not numbers.any():
            return
        self._of_row[rows] = 0
        for number, times in zip(*_counted(numbers[numbers != 0]), strict=True):
            self.count -= times
            if number > 0:
                self._waiting_count -= times
            left = self._left[abs(number)] - times
            if left:
                self._left[abs(number)] = left
            else:
                del self._left[abs(number)], self._groups[abs(number)]

    def are_queued(self, rows: _Rows) -> NDArray[np.bool_]:
        """Return which rows have a follow-up."""
        queued: NDArray[np.bool_] = self._numbers(rows) != 0
        return queued

    def are_waiting(self, rows: _Rows) -> NDArray[np.bool_]:
        """Return which rows have a follow-up that waits for cancels."""
        waiting: NDArray[np.bool_] = self._numbers(rows) > 0
        return waiting

    def waiting(self, first: int, last: int) -> NDArray[np.bool_] | None:
        """Return which rows of a range have a follow-up that waits for cancels, None for none."""
        if not self._waiting_count:
            return None
        mask = np.zeros(last - first, np.bool_)
        known = self._of_row[first:last] > 0
        mask[: len(known)] = known
        return mask if known.any() else None

    def waiting_for(self, rows: _Rows) -> list[tuple[FollowUp, _Rows]]:
        """Return the groups in which some rows wait for cancels, in order of arrival, each with
        those rows, ascending.
        """
        if not self._waiting_count:
            return []
        rows = np.unique(rows)
        numbers = self._numbers(rows)
        waiting = np.unique(numbers[numbers > 0]).tolist()
        return [(self._groups[number], rows[numbers == number]) for number in waiting]

    def due(self, now: int) -> Iterator[FollowUp]:
        """Yield the groups that are due, in order of time, each with the rows that are left of it.

        Nothing is removed here: the events decided about them do that. Cost: the groups that are
        due, and those that ended before their time.
        """
        fallen: list[tuple[int, int]] = []
        while self._due and self._due[0][0] <= now:
            due, number = heappop(self._due)
            if number in self._groups:
                fallen.append((due, number))
        for item in fallen:
            heappush(self._due, item)
        for _, number in fallen:
            if number in self._groups:
                group = self._groups[number]
                yield group._replace(rows=self._left_of(number, group))

    def _left_of(self, number: int, group: FollowUp) -> _Rows:
        if self._left[number] == len(group.rows):
            return group.rows
        left: _Rows = group.rows[np.abs(self._of_row[group.rows]) == number]
        return left

    def _numbers(self, rows: _Rows) -> _Rows:
        if not self.count:
            return np.zeros(len(rows), np.int64)
        if not len(rows) or int(rows.max()) < len(self._of_row):
            numbers: _Rows = self._of_row[rows]
            return numbers
        numbers = np.zeros(len(rows), np.int64)
        known = rows < len(self._of_row)
        numbers[known] = self._of_row[rows[known]]
        return numbers


def _counted(numbers: _Rows) -> tuple[list[int], list[int]]:
    if len(numbers) == 1:
        return [int(numbers[0])], [1]
    values, counts = np.unique(numbers, return_counts=True)
    return values.tolist(), counts.tolist()
