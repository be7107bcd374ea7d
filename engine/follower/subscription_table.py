"""A book's subscriptions as columns in as few arrays as possible: most books have a hundred rows,
and an array costs as much as twenty.

Columns of one width stand in one matrix. A shared column is one value until a row differs: limits,
modes and endings are the same for all rows of most books. Such a column is read like any other and
written through `own`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.columns.reductions import all_of
from engine.columns.snapshot import Picks
from engine.columns.state import AnyColumn
from engine.columns.table import capacity_for, grown
from engine.follower.subscription_columns import (
    MONEY,
    NARROW,
    NO_SHARED,
    SHARED,
    WIDE,
    NewRows,
    TablePicks,
)

_SHARED_NAMES = tuple(SHARED)
_SHARED_FIRST = len(WIDE)
_NARROW_FIRST = _SHARED_FIRST + len(SHARED)
_STATUS = _NARROW_FIRST + len(NARROW)
_AT = {name: at for at, name in enumerate((*WIDE, *SHARED, *NARROW, "status"))}
_ROWS_MAX = 1 << 32
_INT64, _UINT32, _UINT8 = np.dtype(np.int64), np.dtype(np.uint32), np.dtype(np.uint8)


def words_of(nbytes: int) -> int:
    """Return how many 64-bit words hold so many bytes."""
    return -(-nbytes // 8)


def _one_value(dtype: np.dtype[Any], value: int) -> AnyColumn:
    """Make a column of any length that holds one value and cannot be written."""
    return np.ndarray((_ROWS_MAX,), dtype, np.array([value], dtype).tobytes(), 0, (0,))


def _is_one_value(column: AnyColumn) -> bool:
    return column.strides[0] == 0


_ZEROS = tuple(_one_value(dtype, 0) for dtype in SHARED.values())


class SubscriptionTable:
    """The columns of a book's subscriptions; `table[name]` is a view of the rows in use."""

    __slots__ = ("_narrow", "_shared", "_status", "_wide", "count")

    def __init__(self) -> None:
        self.count = 0
        self._wide: AnyColumn = np.zeros((len(WIDE), 0), np.int64)
        self._narrow: AnyColumn = np.zeros((len(NARROW), 0), np.uint32)
        self._status: AnyColumn = np.zeros(0, np.uint8)
        self._shared: tuple[AnyColumn, ...] = _ZEROS

    def __getitem__(self, name: str) -> AnyColumn:
        at = _AT[name]
        if at < _SHARED_FIRST:
            return self._wide[at, : self.count]
        if at < _NARROW_FIRST:
            return self._shared[at - _SHARED_FIRST][: self.count]
        if at < _STATUS:
            return self._narrow[at - _NARROW_FIRST, : self.count]
        return self._status[: self.count]

    def money(self, rows: slice | NDArray[np.int64]) -> AnyColumn:
        """The columns `MONEY` of some rows as one matrix."""
        return self._wide[: len(MONEY), rows]

    def spend(self, rows: slice | NDArray[np.int64], amounts: NDArray[np.int64]) -> None:
        """Take amounts from the columns `MONEY` of some rows."""
        self._wide[: len(MONEY), rows] -= amounts

    def narrow(self, rows: slice | NDArray[np.int64]) -> AnyColumn:
        """The columns `NARROW` of some rows as one matrix."""
        return self._narrow[:, rows]

    def has_one_zero(self, name: str) -> bool:
        """Return whether a shared column was never written: it is zero in every row."""
        at = _AT[name] - _SHARED_FIRST
        return self._shared[at] is _ZEROS[at]

    def own(self, name: str) -> AnyColumn:
        """A column to write into. One that was a single value becomes one value per row."""
        at = _AT[name] - _SHARED_FIRST
        if 0 <= at < len(SHARED) and _is_one_value(self._shared[at]):
            column = np.zeros(self.capacity, SHARED[name])
            column[: self.count] = self._shared[at][: self.count]
            self._share(at, column)
        return self[name]

    def _share(self, at: int, column: AnyColumn) -> None:
        self._shared = (*self._shared[:at], column, *self._shared[at + 1 :])

    @property
    def capacity(self) -> int:
        """The number of rows that there is room for."""
        return int(self._wide.shape[1])

    def append(self, rows: NewRows, which: slice) -> slice:
        """Add some of the rows. Returns: where they are. Cost: 3 us for a single row (`sustained` c
        loads so).
        """
        start = self.count
        where = slice(start, start + which.stop - which.start)
        if where.stop > self.capacity:
            self._grow(capacity_for(where.stop, self.capacity))
        self.count = where.stop
        self._wide[:, where] = rows.wide[:, which]
        self._narrow[:, where] = rows.narrow[:, which]
        if rows.status is not None:
            self._status[where] = rows.status[which]
        if rows.shared is not NO_SHARED or self._shared is not _ZEROS:
            for at, (column, values) in enumerate(zip(self._shared, rows.shared, strict=True)):
                if values is not None or column is not _ZEROS[at]:
                    self._append_shared(at, where, None if values is None else values[which])
        return where

    def _append_shared(self, at: int, where: slice, values: AnyColumn | None) -> None:
        column, name = self._shared[at], _SHARED_NAMES[at]
        value = 0 if values is None else int(values[0])
        if _is_one_value(column):
            is_same = values is None or len(values) == 1 or all_of(values == value)
            if is_same and value == (0 if column is _ZEROS[at] else int(column[0])):
                return
            if is_same and where.start == 0:
                self._share(at, _one_value(SHARED[name], value))
                return
        self.own(name)[where] = 0 if values is None else values

    def _grow(self, capacity: int) -> None:
        self._wide = _grown_rows(self._wide, capacity)
        self._narrow = _grown_rows(self._narrow, capacity)
        self._status = grown(self._status, capacity)
        if self._shared is not _ZEROS:
            self._shared = tuple(
                column if _is_one_value(column) else grown(column, capacity)
                for column in self._shared
            )

    # The rows as 64-bit words, for the state.

    def header(self) -> list[int]:
        """Return the count of rows, a bit for each shared column that is not one value, and the
        values of the others.
        """
        varied, values = 0, [0] * len(SHARED)
        if self._shared is not _ZEROS:
            for at, column in enumerate(self._shared):
                if _is_one_value(column):
                    values[at] = int(column[0])
                else:
                    varied |= 1 << at
        return [self.count, varied, *values]

    def parts(self) -> list[AnyColumn]:
        """Return the rows in use as arrays."""
        count = self.count
        varied = [column[:count] for column in self._shared if not _is_one_value(column)]
        return [self._wide[:, :count], self._narrow[:, :count], self._status[:count], *varied]

    @classmethod
    def restored(
        cls, header: list[int], words: NDArray[np.int64], at: int, picks: TablePicks
    ) -> tuple["SubscriptionTable", int]:
        """Take rows back from a header and words, as views of them where they were written as they
        are today. Returns: the table, and where its words end.
        """
        table = cls()
        count, varied, *values = header
        table.count = count
        table._wide, at = _matrix(words, at, _INT64, count, picks.wide)
        table._narrow, at = _matrix(words, at, _UINT32, count, picks.narrow)
        status, at = _matrix(words, at, _UINT8, count, picks.status)
        table._status = status[0]
        if varied or any(values):
            shared, at = _shared_columns(header, words, at, picks)
            table._shared = _picked(shared, picks)
        return table, at

    @property
    def nbytes(self) -> int:
        """The bytes held by columns, room to grow included."""
        own = sum(column.nbytes for column in self._shared if not _is_one_value(column))
        return self._wide.nbytes + self._narrow.nbytes + self._status.nbytes + own


def _grown_rows(matrix: AnyColumn, capacity: int) -> AnyColumn:
    larger: AnyColumn = np.zeros((len(matrix), capacity), matrix.dtype)
    larger[:, : matrix.shape[1]] = matrix
    return larger


def _taken(
    words: NDArray[np.int64], at: int, dtype: np.dtype[Any], count: int
) -> tuple[AnyColumn, int]:
    end = at + words_of(count * dtype.itemsize)
    return words[at:end].view(dtype)[:count], end


def _matrix(
    words: NDArray[np.int64], at: int, dtype: np.dtype[Any], count: int, picks: Picks
) -> tuple[AnyColumn, int]:
    """Take columns of one width. Returns: them as they are today, and where their words end."""
    values, end = _taken(words, at, dtype, picks.written_count * count)
    return picks.matrix(values.reshape(picks.written_count, count)), end


def _shared_columns(
    header: list[int], words: NDArray[np.int64], at: int, picks: TablePicks
) -> tuple[list[AnyColumn | None], int]:
    """Take the shared columns as they were written, None for one that is zero in every row.
    Returns: them, and where their words end.
    """
    count, varied, *values = header
    narrow_count = picks.shared_narrow.written_count
    columns: list[AnyColumn | None] = []
    for place, value in enumerate(values):
        dtype = _UINT8 if place < narrow_count else _INT64
        column: AnyColumn | None = None
        if varied >> place & 1:
            column, at = _taken(words, at, dtype, count)
        elif value:
            column = _one_value(dtype, value)
        columns.append(column)
    return columns, at


def _picked(columns: list[AnyColumn | None], picks: TablePicks) -> tuple[AnyColumn, ...]:
    """Put shared columns as they were written into today's order. One that is missing is zero."""
    narrow_count = picks.shared_narrow.written_count
    written = (*columns[:narrow_count],), (*columns[narrow_count:],)
    found: list[AnyColumn | None] = []
    for part, of_part in zip(written, (picks.shared_narrow, picks.shared_wide), strict=True):
        places = range(len(part)) if of_part.places is None else of_part.places
        found += [None if place < 0 else part[place] for place in places]
    return tuple(
        zero if column is None else column for column, zero in zip(found, _ZEROS, strict=True)
    )
