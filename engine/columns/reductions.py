"""Questions to columns, asked the cheap way: a short column's cost is the call, not the values
(`latency`, `sustained` c).

A ufunc's reduction costs about a microsecond however short the column is; counting and
arg-searching cost a tenth to a third of that, and no more on long columns.
"""

import numpy as np
from numpy.typing import NDArray


def any_of(column: NDArray[np.generic]) -> bool:
    """Say whether any value is true, or not zero."""
    return bool(np.count_nonzero(column))


def all_of(mask: NDArray[np.bool_]) -> bool:
    """Say whether every value is true; of none, every one is."""
    return int(np.count_nonzero(mask)) == len(mask)


def least(values: NDArray[np.integer]) -> int:
    """Name the smallest value; there must be one."""
    return int(values[values.argmin()])


def most(values: NDArray[np.integer]) -> int:
    """Name the largest value; there must be one."""
    return int(values[values.argmax()])


def rows_of(column: NDArray[np.generic]) -> NDArray[np.int64]:
    """Name the rows that are true, or not zero, ascending."""
    return column.nonzero()[0]


def is_rising(values: NDArray[np.integer]) -> bool:
    """Say whether each value is above the one before."""
    return len(values) < 2 or all_of(values[1:] > values[:-1])


def is_same(a: NDArray[np.integer], b: NDArray[np.integer]) -> bool:
    """Say whether two columns are equal."""
    return len(a) == len(b) and (a is b or not any_of(a != b))
