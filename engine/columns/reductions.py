"""Reductions of columns that are cheap for short ones, where the call costs more than the values
(`latency`, `sustained` c).

A ufunc's reduction costs about a microsecond however short the column is; counting and
arg-searching cost a tenth to a third of that, and no more on long columns.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def any_of(column: NDArray[np.generic]) -> bool:
    """Return whether any value is true, or not zero."""
    return bool(np.count_nonzero(column))


def all_of(mask: NDArray[np.bool_]) -> bool:
    """Return whether every value is true. Of none, every one is."""
    return int(np.count_nonzero(mask)) == len(mask)


def least(values: NDArray[np.integer]) -> int:
    """Return the smallest value. There must be one."""
    return int(values[values.argmin()])


def most(values: NDArray[np.integer]) -> int:
    """Return the largest value. There must be one."""
    return int(values[values.argmax()])


def rows_of(column: NDArray[np.generic]) -> NDArray[np.int64]:
    """Return the rows that are true, or not zero, in ascending order."""
    return column.nonzero()[0]


def is_any(column: NDArray[np.integer], values: Sequence[int]) -> NDArray[np.bool_]:
    """Return a mask of the rows that hold one of some values. There must be at least one value.

    Cost: numpy compares with a plain integer in a quarter of the time that an enum's member takes.
    """
    found: NDArray[np.bool_] = column == int(values[0])
    for value in values[1:]:
        found |= column == int(value)
    return found


def is_rising(values: NDArray[np.integer]) -> bool:
    """Return whether each value is above the one before."""
    return len(values) < 2 or all_of(values[1:] > values[:-1])


def has_repeats(values: NDArray[np.integer]) -> bool:
    """Return whether a value stands twice."""
    return not is_rising(values) and len(np.unique(values)) < len(values)


def is_same(a: NDArray[np.integer], b: NDArray[np.integer]) -> bool:
    """Return whether two columns are equal."""
    return len(a) == len(b) and (a is b or not any_of(a != b))
