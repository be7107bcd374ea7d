"""Rows of several books, one book after the other, and values repeated for them.

What is the same for all rows stays one number; what differs from book to book is a column.
"""

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from engine.columns.arithmetic import Operand
from engine.follower.book import Mask, Rows


def length_of(rows: Rows) -> int:
    """Count rows."""
    return rows.stop - rows.start if isinstance(rows, slice) else len(rows)


def per_row(values: Sequence[int], counts: Sequence[int]) -> Operand:
    """Repeat each book's value for its rows; one number where all values are equal."""
    first = values[0]
    if len(values) == 1 or values.count(first) == len(values):
        return first
    return np.repeat(np.array(values, np.int64), counts)


def per_row_mask(values: Sequence[bool], counts: Sequence[int]) -> bool | Mask:
    """Repeat each book's answer for its rows; one answer where all are equal."""
    if len(values) == 1 or values.count(values[0]) == len(values):
        return values[0]
    return np.repeat(np.array(values, np.bool_), counts)


def ranges(counts: Sequence[int]) -> list[slice]:
    """Return where each book's rows are among all."""
    if len(counts) == 1:
        return [slice(0, counts[0])]
    ends = list(accumulate(counts))
    return [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]
