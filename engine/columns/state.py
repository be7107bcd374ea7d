"""States as named columns: encoded, hashed, decoded.

A state's hash is over the columns that the shard's `columns()` returns, in order of their names.
Inspection, audit and benchmarks compare it (P6), so it must not depend on how a snapshot is
written: that is `engine.columns.snapshot`.
"""

import re
from collections.abc import Iterator
from hashlib import blake2b
from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.columns.codec import ColumnError

AnyColumn = NDArray[np.integer]
State = dict[str, AnyColumn]
"""A state as named columns."""

_COLUMN_HEADER = re.compile(rb"([a-z0-9_.]+):([<|][iu][1248]):([0-9]{1,12})")
_COLUMN_HEADER_BYTES_MAX = 256
_INT64 = Struct("<q")


def hash_64(text: str) -> int:
    """Hash an id to 64 bits, signed (BLAKE2b)."""
    hashed: int = _INT64.unpack(blake2b(text.encode(), digest_size=8).digest())[0]
    return hashed


def column_header(name: str, dtype: "np.dtype[Any]", count: int) -> bytes:
    """Encode a column's header, which stands before its values: name, type and length."""
    return f"{name}:{dtype.str}:{count}\n".encode()


def _encoded(state: State) -> Iterator[bytes | memoryview]:
    for name in sorted(state):
        column = np.ascontiguousarray(state[name])
        yield column_header(name, column.dtype, len(column))
        yield column.data


def state_hash(state: State) -> bytes:
    """Hash a state: its encoding. Equal states hash equally (P6)."""
    digest = state_digest()
    for part in _encoded(state):
        digest.update(part)
    return digest.digest()


def state_digest() -> blake2b:
    """Begin a hash to which the encoding is given in parts."""
    return blake2b(digest_size=32)


def encode_state(state: State) -> bytes:
    """Encode a state: every column's name, type and raw values, in order of name."""
    return b"".join(_encoded(state))


def decode_state(data: bytes | memoryview) -> State:
    """Decode columns. Raises: ColumnError when the bytes are no header, or end inside a column."""
    view, offset, state = memoryview(data), 0, State()
    while offset < len(view):
        end = bytes(view[offset : offset + _COLUMN_HEADER_BYTES_MAX]).find(b"\n")
        if end < 0:
            raise ColumnError(f"state: expected a column's header at {offset}")
        header = _COLUMN_HEADER.fullmatch(view[offset : offset + end])
        if header is None:
            raise ColumnError(
                f"state: expected name:type:count at {offset}, found "
                f"{bytes(view[offset : offset + 40])!r}"
            )
        name, dtype, count = header[1].decode(), np.dtype(header[2].decode()), int(header[3])
        offset += end + 1
        if offset + dtype.itemsize * count > len(view):
            raise ColumnError(f"state: expected {count} values of {name}, found the end")
        state[name] = np.frombuffer(view, dtype, count, offset)
        offset += dtype.itemsize * count
    return state
