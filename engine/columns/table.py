"""Tables: named columns of equal length that grow at the end and never move a row.

A table grows by a quarter, so it wastes little memory at any size. A view of rows keeps its values
while rows are added behind them.
"""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import DTypeLike, NDArray

from engine.columns.codec import ColumnError
from engine.columns.state import AnyColumn, State

_GROWTH_MIN = 8


def capacity_for(count: int, capacity: int) -> int:
    """Return the number of rows to make room for, when `count` are needed and there is room for
    `capacity`.
    """
    if count <= capacity:
        return capacity
    return max(count, capacity + capacity // 4, capacity + _GROWTH_MIN)


def grown(column: AnyColumn, capacity: int) -> AnyColumn:
    """Copy a column into a larger one; new rows are zero."""
    larger = np.zeros(capacity, column.dtype)
    larger[: len(column)] = column
    return larger


def as_slice(rows: NDArray[np.int64]) -> slice | NDArray[np.int64]:
    """Return rows as a slice if they follow one another. Values are then read and written without
    being gathered row by row. The rows ascend and are distinct.
    """
    count = len(rows)
    if count > 1:
        first, last = int(rows[0]), int(rows[-1])
        if last - first == count - 1:
            return slice(first, last + 1)
    return rows


def names_with(prefix: str, names: Iterable[str]) -> list[str]:
    """Return the names that a table's columns have in a state."""
    return [f"{prefix}.{name}" for name in names]


class Table:
    """Named columns; `table[name]` is a view of the rows in use. A column that a snapshot does not
    have takes its default, which is zero unless declared.
    """

    __slots__ = ("_columns", "_defaults", "count")

    def __init__(
        self, columns: Mapping[str, DTypeLike], defaults: Mapping[str, int] | None = None
    ) -> None:
        self._defaults = defaults or {}
        self._columns: dict[str, AnyColumn] = {
            name: np.zeros(0, dtype) for name, dtype in columns.items()
        }
        self.count = 0

    def __getitem__(self, name: str) -> AnyColumn:
        return self._columns[name][: self.count]

    def append(self, rows: Mapping[str, AnyColumn]) -> slice:
        """Add rows. Columns that are not given are zero. Returns: the place of the new rows."""
        added = len(next(iter(rows.values())))
        where = slice(self.count, self.count + added)
        have = len(next(iter(self._columns.values())))
        if where.stop > have:
            capacity = capacity_for(where.stop, have)
            self._columns = {
                name: grown(column, capacity) for name, column in self._columns.items()
            }
        for name, values in rows.items():
            self._columns[name][where] = values
        self.count = where.stop
        return where

    @property
    def capacity(self) -> int:
        """The number of rows that there is room for."""
        return len(next(iter(self._columns.values())))

    def state(self, prefix: str) -> State:
        """Return the rows in use as part of a state."""
        return {f"{prefix}.{name}": column[: self.count] for name, column in self._columns.items()}

    def restore(self, prefix: str, state: State) -> None:
        """Take rows back from a snapshot's columns. Raises: ColumnError when the columns differ in
        length.
        """
        found = {name: state.get(f"{prefix}.{name}") for name in self._columns}
        counts = {len(column) for column in found.values() if column is not None}
        if len(counts) > 1:
            raise ColumnError(
                f"snapshot: expected columns of one length in {prefix}, found {sorted(counts)}"
            )
        self.count = counts.pop() if counts else 0
        self._columns = {
            name: self._restored(name, found[name], column.dtype)
            for name, column in self._columns.items()
        }

    def _restored(self, name: str, found: AnyColumn | None, dtype: DTypeLike) -> AnyColumn:
        if found is None:
            return np.full(self.count, self._defaults.get(name, 0), dtype)
        return np.array(found, dtype)

    @property
    def nbytes(self) -> int:
        """The bytes held, room to grow included."""
        return sum(column.nbytes for column in self._columns.values())
