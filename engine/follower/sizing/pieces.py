"""Pieces of a batch: rows of one book, and values of pieces repeated per row."""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from engine.columns.arithmetic import Operand
from engine.follower.book import Book, Mask, Rows, Slot


class Piece(NamedTuple):
    """Rows of one book, and the slot that they are decided in."""

    book: Book
    slot: Slot
    rows: Rows


def length_of(rows: Rows) -> int:
    """Say how many rows there are."""
    return rows.stop - rows.start if isinstance(rows, slice) else len(rows)


def per_row(values: Sequence[int], counts: Sequence[int]) -> Operand:
    """Say for each row what its piece says; one number where all pieces say the same."""
    first = values[0]
    if len(values) == 1 or values.count(first) == len(values):
        return first
    return np.repeat(np.array(values, np.int64), counts)


def per_row_mask(values: Sequence[bool], counts: Sequence[int]) -> bool | Mask:
    """Say for each row what its piece says; one answer where all pieces say the same."""
    if len(values) == 1 or values.count(values[0]) == len(values):
        return values[0]
    return np.repeat(np.array(values, np.bool_), counts)


def ranges(counts: Sequence[int]) -> list[slice]:
    """Say where each piece's rows are in the batch."""
    if len(counts) == 1:
        return [slice(0, counts[0])]
    ends = list(accumulate(counts))
    return [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]
