"""Tables: columns of equal length that grow at the end and never move a row; and states, which are
named columns.

A table grows by a quarter, so rows waste little however many they are. A view of rows stays what it
is while rows are added after them.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import DTypeLike, NDArray

from engine.columns.state import AnyColumn, State

_GROWTH_MIN = 8


def capacity_for(count: int, capacity: int) -> int:
    """Say how many rows to make room for when `count` are needed and `capacity` are there."""
    if count <= capacity:
        return capacity
    return max(count, capacity + capacity // 4, capacity + _GROWTH_MIN)


def grown(column: AnyColumn, capacity: int) -> AnyColumn:
    """Copy a column into a larger one; new rows are zero."""
    larger = np.zeros(capacity, column.dtype)
    larger[: len(column)] = column
    return larger


def as_slice(rows: NDArray[np.int64]) -> slice | NDArray[np.int64]:
    """Name rows as a slice where they follow one another: what is read and written through it is
    not gathered row by row.

    The rows ascend and are distinct: the first and the last tell.
    """
    count = len(rows)
    if count > 1:
        first, last = int(rows[0]), int(rows[-1])
        if last - first == count - 1:
            return slice(first, last + 1)
    return rows


class Table:
    """Named columns; `table[name]` is a view of the rows in use."""

    __slots__ = ("_columns", "count")

    def __init__(self, columns: Mapping[str, DTypeLike]) -> None:
        self._columns: dict[str, AnyColumn] = {
            name: np.zeros(0, dtype) for name, dtype in columns.items()
        }
        self.count = 0

    def __getitem__(self, name: str) -> AnyColumn:
        return self._columns[name][: self.count]

    def append(self, rows: Mapping[str, AnyColumn]) -> slice:
        """Add rows; columns not given are zero. Returns: where they are."""
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
        """How many rows there is room for."""
        return len(next(iter(self._columns.values())))

    def state(self, prefix: str) -> State:
        """Name the rows in use as part of a state."""
        return {f"{prefix}.{name}": column[: self.count] for name, column in self._columns.items()}

    def restore(self, prefix: str, state: State) -> None:
        """Take rows back from a state."""
        self._columns = {
            name: np.array(state[f"{prefix}.{name}"], column.dtype)
            for name, column in self._columns.items()
        }
        self.count = len(next(iter(self._columns.values())))

    @property
    def nbytes(self) -> int:
        """Bytes held, room to grow included."""
        return sum(column.nbytes for column in self._columns.values())
