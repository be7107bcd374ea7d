"""The column codec: it writes an array of integers in few bytes, in frames, in blocks and in
snapshots.

A column is a one-byte kind, a one-byte stored width, a count (u32), a base (i64), then the values,
little-endian. Kinds: CONSTANT (every value is the base; nothing stored), OFFSET (value = base +
stored), DELTA (first value is the base, each next adds base-less stored difference). The narrowest
stored width of 1, 2, 4 or 8 bytes is chosen from the values, so equal columns give equal bytes.
Text columns are an OFFSET column of lengths and the joined UTF-8 bytes.
"""

import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.columns.reductions import least, most

_HEADER = struct.Struct("<BBIq")
_WIDTHS: tuple[tuple[int, np.dtype[np.unsignedinteger]], ...] = (
    (0xFF, np.dtype("<u1")),
    (0xFFFF, np.dtype("<u2")),
    (0xFFFFFFFF, np.dtype("<u4")),
)
_U8 = np.dtype("<u8")
_DTYPE_OF_WIDTH: dict[int, np.dtype[Any]] = {
    1: np.dtype("<u1"),
    2: np.dtype("<u2"),
    4: np.dtype("<u4"),
    8: _U8,
}
COUNT_MAX = 1 << 22
_SHORT_MAX = 4096
_FEW_MAX = 64
_NO_WRAP = (1 << 63) - (1 << 32)
"""A base below it plus an offset of at most four bytes fits 64 bits."""


class ColumnError(ValueError):
    """Bytes are not a column. The message says what was expected and what was found."""


class Kind(IntEnum):
    CONSTANT = 0
    OFFSET = 1
    DELTA = 2


_CONSTANT, _OFFSET, _DELTA = (int(kind) for kind in Kind)
_EMPTY = _HEADER.pack(_CONSTANT, 0, 0, 0)


def _narrow(values: NDArray[np.uint64], largest: int) -> NDArray[np.unsignedinteger]:
    for limit, dtype in _WIDTHS:
        if largest <= limit:
            return values.astype(dtype)
    return values


def _width(span: int) -> int:
    for limit, dtype in _WIDTHS:
        if span <= limit:
            return dtype.itemsize
    return 8


def encode_column(values: NDArray[np.integer], *, ascending: bool = False) -> bytes:
    """Encode a column of integers of at most 64 bits. `ascending` allows differences, for a column
    that never falls.

    Shapes: one dimension. Unsigned 64-bit values keep their bits. Cost: about 3 ns per value.
    """
    count = len(values)
    if count == 0:
        return _EMPTY
    wide = (
        values.view(np.int64) if values.dtype == np.uint64 else values.astype(np.int64, copy=False)
    )
    if count <= _SHORT_MAX:
        # To compare a constant column's bytes costs a fraction of finding its extremes.
        raw = wide.tobytes()
        if raw == raw[:8] * count:
            return _HEADER.pack(_CONSTANT, 0, count, int(wide[0]))
    if ascending:
        first, last = int(wide[0]), int(wide[-1])
        steps = np.zeros(count, np.int64)
        np.subtract(wide[1:], wide[:-1], out=steps[1:])
        largest = most(steps)
        if _width(largest) < _width(last - first) and least(steps) >= 0:
            stored = _narrow(steps.view(np.uint64), largest)
            return _HEADER.pack(_DELTA, stored.dtype.itemsize, count, first) + stored.tobytes()
    low, high = least(wide), most(wide)
    if low == high:
        return _HEADER.pack(_CONSTANT, 0, count, low)
    # Offsets wrap modulo 2**64, so the full 64-bit span fits.
    stored = _narrow((wide - np.int64(low)).view(np.uint64), high - low)
    return _HEADER.pack(_OFFSET, stored.dtype.itemsize, count, low) + stored.tobytes()


def decode_column(
    data: bytes | memoryview, offset: int = 0, count_max: int = COUNT_MAX
) -> tuple[NDArray[np.int64], int]:
    """Decode the column at an offset. Returns: the values and the offset past it. Raises:
    ColumnError, before anything is allocated for a column of more than `count_max` values.
    """
    if len(data) < offset + _HEADER.size:
        raise ColumnError(
            f"column: expected a header of {_HEADER.size} bytes at "
            f"{offset}, found {len(data) - offset}"
        )
    kind, width, count, base = _HEADER.unpack_from(data, offset)
    offset += _HEADER.size
    if count > count_max:
        raise ColumnError(f"column: expected at most {count_max} values, found {count}")
    if kind == _CONSTANT:
        constant = np.empty(count, np.int64)
        constant.fill(base)
        return constant, offset
    dtype = _DTYPE_OF_WIDTH.get(width)
    if dtype is None or kind not in (_OFFSET, _DELTA):
        raise ColumnError(
            f"column: expected kind 0 to 2 and width 1, 2, 4 or 8, found kind {kind} width {width}"
        )
    end = offset + width * count
    if len(data) < end:
        raise ColumnError(
            f"column: expected {width * count} bytes of values, found {len(data) - offset}"
        )
    # Unsigned values keep their bits, so that sums wrap as they did when they were written.
    values = np.frombuffer(data, dtype, count, offset).astype(np.int64)
    if kind == _DELTA:
        np.add.accumulate(values, out=values)
    if base:
        values += np.int64(base)
    return values, end


def encode_integers(values: Sequence[int]) -> bytes:
    """Encode a column from a list of at least one value. Cost: next to nothing if all values are
    equal, as in most lists.
    """
    count = len(values)
    if values.count(values[0]) == count:
        return _HEADER.pack(_CONSTANT, 0, count, values[0])
    if count > _FEW_MAX:
        return encode_column(np.array(values, np.int64))
    # To encode so few values one by one costs half of the column's calls. The bytes are the same.
    low = min(values)
    offsets = [value - low for value in values]
    largest = max(offsets)
    if largest <= 0xFF:
        return _HEADER.pack(_OFFSET, 1, count, low) + bytes(offsets)
    width = _width(largest)
    return (
        _HEADER.pack(_OFFSET, width, count, low)
        + np.array(offsets, _DTYPE_OF_WIDTH[width]).tobytes()
    )


def decode_integers(
    data: bytes | memoryview, offset: int = 0, *, count_max: int = COUNT_MAX
) -> tuple[list[int], int]:
    """Decode the column at an offset as a list. Returns: the values and the offset past it. Raises:
    ColumnError.
    """
    if len(data) >= offset + _HEADER.size:
        kind, width, count, base = _HEADER.unpack_from(data, offset)
        start, end = offset + _HEADER.size, offset + _HEADER.size + width * count
        if kind == _CONSTANT and count <= count_max:
            return [base] * count, start
        if (
            kind == _OFFSET
            and width == 1
            and count <= _FEW_MAX
            and end <= len(data)
            and base < _NO_WRAP
        ):
            return [base + stored for stored in data[start:end]], end
    values, offset = decode_column(data, offset, count_max=count_max)
    return values.tolist(), offset


def encode_texts(texts: Sequence[str]) -> bytes:
    """Encode a column of texts, each at most 64 KiB of UTF-8."""
    encoded = [text.encode() for text in texts]
    lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
    return encode_column(lengths) + b"".join(encoded)


def decode_texts(
    data: bytes | memoryview, offset: int = 0, count_max: int = COUNT_MAX
) -> tuple[list[str], int]:
    """Decode the texts at an offset. Returns: the texts and the offset past them. Raises:
    ColumnError.
    """
    lengths, offset = decode_column(data, offset, count_max=count_max)
    total = int(lengths.sum())
    if (len(lengths) and (int(lengths.min()) < 0 or int(lengths.max()) > 0xFFFF)) or len(
        data
    ) < offset + total:
        raise ColumnError(
            f"texts: expected {total} bytes in lengths of 0 to "
            f"65535, found {len(data) - offset} bytes"
        )
    texts = []
    for length in lengths.tolist():
        texts.append(_text(bytes(data[offset : offset + length])))
        offset += length
    return texts, offset


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ColumnError(f"texts: expected UTF-8, found {data[:40]!r}") from None
