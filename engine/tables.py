"""Tables: columns of equal length that grow at the end and never move a row; and states, which are named columns.

A table grows by a quarter, so rows waste little however many they are. A view of rows stays what it is while rows are added after them.
"""

import re
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from engine.columns import ColumnError

AnyColumn = NDArray[np.integer]
State = dict[str, AnyColumn]
"""A state as named columns: what is hashed, snapshotted and restored."""

_COLUMN_HEAD = re.compile(rb"([a-z0-9_.]+):([<|][iu][1248]):([0-9]{1,12})")
_GROWTH_MIN = 8
_INT64 = Struct("<q")
STATE_LAYOUT = 3
"""Which columns states have and how they are encoded and hashed. A snapshot of another layout is no state: the journal is replayed
instead."""


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


def as_run(rows: NDArray[np.int64]) -> slice | NDArray[np.int64]:
    """Name rows as a slice where they follow one another: what is read and written through it is not gathered row by row.

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
        self._columns: dict[str, AnyColumn] = {name: np.zeros(0, dtype) for name, dtype in columns.items()}
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
            self._columns = {name: grown(column, capacity) for name, column in self._columns.items()}
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
            name: np.array(state[f"{prefix}.{name}"], column.dtype) for name, column in self._columns.items()
        }
        self.count = len(next(iter(self._columns.values())))

    @property
    def nbytes(self) -> int:
        """Bytes held, room to grow included."""
        return sum(column.nbytes for column in self._columns.values())


def hash_64(text: str) -> int:
    """Hash an id to 64 bits, signed (BLAKE2b)."""
    hashed: int = _INT64.unpack(blake2b(text.encode(), digest_size=8).digest())[0]
    return hashed


def column_head(name: str, dtype: "np.dtype[Any]", count: int) -> bytes:
    """Say what comes before a column's values where a state is encoded: its name, type and length."""
    return f"{name}:{dtype.str}:{count}\n".encode()


def _encoded(state: State) -> Iterator[bytes | memoryview]:
    for name in sorted(state):
        column = np.ascontiguousarray(state[name])
        yield column_head(name, column.dtype, len(column))
        yield column.data


def state_hash(state: State) -> bytes:
    """Hash a state: its encoding. Equal states hash equally (P6)."""
    digest = state_digest()
    for part in _encoded(state):
        digest.update(part)
    return digest.digest()


def state_digest() -> blake2b:
    """Begin hashing an encoded state bit by bit."""
    return blake2b(digest_size=32)


def encode_state(state: State) -> bytes:
    """Encode a state for a snapshot: every column's name, type and raw values, in order of name."""
    return b"".join(_encoded(state))


def decode_state(data: bytes | memoryview) -> State:
    """Decode a state. Raises: ColumnError when a head is none or the bytes end inside a column."""
    view, offset, state = memoryview(data), 0, State()
    while offset < len(view):
        end = bytes(view[offset : offset + 256]).find(b"\n")
        if end < 0:
            raise ColumnError(f"state: expected a column head at {offset}")
        head = _COLUMN_HEAD.fullmatch(view[offset : offset + end])
        if head is None:
            raise ColumnError(
                f"state: expected name:type:count at {offset}, found {bytes(view[offset : offset + 40])!r}"
            )
        name, dtype, count = head[1].decode(), np.dtype(head[2].decode()), int(head[3])
        offset += end + 1
        if offset + dtype.itemsize * count > len(view):
            raise ColumnError(f"state: expected {count} values of {name}, found the end")
        state[name] = np.frombuffer(view, dtype, count, offset)
        offset += dtype.itemsize * count
    return state
