"""Tables: columns of equal length that grow at the end and never move a row; and an index from ids to rows.

Growth doubles while a table is small and adds a quarter once it is large, so a million rows waste little.
"""

import re
from collections.abc import Mapping
from hashlib import blake2b

import numpy as np
from numpy.typing import DTypeLike, NDArray

from engine.columns import ColumnError

AnyColumn = NDArray[np.integer]
State = dict[str, AnyColumn]
"""A state as named columns: what is hashed, snapshotted and restored."""

_COLUMN_HEAD = re.compile(rb"([a-z0-9_.]+):([<|][iu][1248]):([0-9]{1,12})")
_CAPACITY_MIN = 8
_DOUBLING_MAX = 1 << 14


def capacity_for(count: int, capacity: int) -> int:
    """Say how many rows to make room for when `count` are needed and `capacity` are there."""
    while capacity < count:
        capacity = max(_CAPACITY_MIN, capacity * 2 if capacity < _DOUBLING_MAX else capacity + capacity // 4)
    return capacity


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
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)


class IdIndex:
    """Numbers ids 0, 1, 2, ... in order of arrival and finds them again, at about 30 bytes an id.

    New ids wait in a dict and are merged into sorted columns of hashes when it is full; equal hashes are told apart by the text.
    """

    _RECENT_MAX = 1 << 16

    def __init__(self) -> None:
        self._text = bytearray()
        self._ends = Table({"end": np.int64})
        self._hashes: NDArray[np.int64] = np.zeros(0, np.int64)
        self._numbers: NDArray[np.uint32] = np.zeros(0, np.uint32)
        self._recent: dict[str, int] = {}

    def __len__(self) -> int:
        return self._ends.count

    def add(self, ids: list[str]) -> int:
        """Number new ids. Returns: the first number. The caller knows that none is there yet."""
        first = len(self)
        encoded = [text.encode() for text in ids]
        ends = np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded))) + len(self._text)
        self._text += b"".join(encoded)
        self._ends.append({"end": ends})
        self._recent.update(zip(ids, range(first, first + len(ids)), strict=True))
        if len(self._recent) > self._RECENT_MAX:
            self._merge()
        return first

    def _merge(self) -> None:
        hashes = np.fromiter((hash_64(text) for text in self._recent), np.int64, len(self._recent))
        numbers = np.fromiter(self._recent.values(), np.uint32, len(self._recent))
        hashes, numbers = np.concatenate((self._hashes, hashes)), np.concatenate((self._numbers, numbers))
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._numbers = hashes[order], numbers[order]
        self._recent = {}

    def text(self, number: int) -> str:
        """Name the id of a number."""
        ends = self._ends["end"]
        start = int(ends[number - 1]) if number else 0
        return self._text[start : int(ends[number])].decode()

    def texts(self, first: int, last: int) -> list[str]:
        """Name the ids numbered from `first` up to, not including, `last`."""
        return [self.text(number) for number in range(first, last)]

    def find(self, text: str) -> int | None:
        """Find an id's number."""
        number = self._recent.get(text)
        if number is not None or not len(self._hashes):
            return number
        wanted = hash_64(text)
        position = int(np.searchsorted(self._hashes, wanted))
        while position < len(self._hashes) and self._hashes[position] == wanted:
            number = int(self._numbers[position])
            if self.text(number) == text:
                return number
            position += 1
        return None

    def state(self, prefix: str) -> State:
        """Name the ids as part of a state."""
        return {f"{prefix}.text": np.frombuffer(bytes(self._text), np.uint8), **self._ends.state(prefix)}

    def restore(self, prefix: str, state: State) -> None:
        """Take ids back from a state and index them."""
        self._text = bytearray(state[f"{prefix}.text"].tobytes())
        self._ends.restore(prefix, state)
        self._hashes, self._numbers = np.zeros(0, np.int64), np.zeros(0, np.uint32)
        self._recent = {self.text(number): number for number in range(len(self))}
        if len(self._recent) > self._RECENT_MAX:
            self._merge()


def state_hash(state: State) -> bytes:
    """Hash a state: every column's name, type and values, in order of name. Equal states hash equally (P6)."""
    digest = blake2b(digest_size=32)
    for name in sorted(state):
        column = np.ascontiguousarray(state[name])
        digest.update(f"{name}:{column.dtype.str}:{len(column)};".encode())
        digest.update(column.data)
    return digest.digest()


def encode_state(state: State) -> bytes:
    """Encode a state for a snapshot: names, types and raw columns."""
    parts = []
    for name in sorted(state):
        column = np.ascontiguousarray(state[name])
        head = f"{name}:{column.dtype.str}:{len(column)}\n".encode()
        parts += [head, column.tobytes()]
    return b"".join(parts)


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
