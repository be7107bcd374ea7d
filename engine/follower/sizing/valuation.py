"""Valuation: the equity of rows at given marks.

It reads cash and positions and knows nothing of signals or sizing: sizing uses it, and whoever else
must value subscriptions can.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.columns.arithmetic import Int64s, mul_div_within
from engine.columns.reductions import any_of, least, most
from engine.follower.book import Book, Mask, Rows, joined
from engine.follower.rows import length_of, per_row, ranges
from engine.follower.slot import VALUE_FIELDS
from engine.values.units import MONEY_MAX, QUANTITY_ONE

ROWS_AT_ONCE = 4096
"""So many rows are valued in one pass, so that the pass stays in the cache. A larger book is a pass
by itself.
"""
_POSITION = VALUE_FIELDS.index("position")


class _Holdings(NamedTuple):
    """Positions that are valued in one pass: where their rows are, the positions, their marks."""

    where: list[slice]
    positions: list[Int64s]
    prices: list[int]


def equity_of(
    cash: NDArray[np.integer],
    pieces: Sequence[tuple[Book, Rows]],
    marks: Sequence[Mapping[int, int]],
) -> tuple[Int64s, Mask | None]:
    """Value rows: their cash, which is given, and each position at its mark. Rounds: each position
    down to the micro.

    Shapes: `pieces` and `marks` have equal length; `cash` has the rows of all pieces in order.
    Marks hold every instrument that a row of their piece holds. Returns: equity in micros, and
    which rows are beyond MONEY_MAX, None where none is.
    """
    equity = np.array(cash, np.int64)
    beyond: Mask | None = None
    for where, positions, prices in _holdings(pieces, marks):
        counts = list(map(len, positions))
        value, too_large = mul_div_within(
            joined(positions), per_row(prices, counts), QUANTITY_ONE, MONEY_MAX
        )
        if len(value) == len(equity) and len({rows.start for rows in where}) == len(where):
            # Each row once, in order.
            equity += value
        else:
            for rows, of_rows in zip(where, ranges(counts), strict=True):
                equity[rows] += value[of_rows]
        if too_large is not None:
            beyond = np.zeros(len(equity), np.bool_) if beyond is None else beyond
            for rows, of_rows in zip(where, ranges(counts), strict=True):
                beyond[rows] |= too_large[of_rows]
    if len(equity) and (most(equity) > MONEY_MAX or least(equity) < -MONEY_MAX):
        out = np.abs(equity) > MONEY_MAX
        beyond = out if beyond is None else beyond | out
    return equity, beyond


def _holdings(
    pieces: Sequence[tuple[Book, Rows]], marks: Sequence[Mapping[int, int]]
) -> Iterator[_Holdings]:
    """Yield the positions of the rows, as many at a time as are valued in one pass."""
    found = _Holdings([], [], [])
    start = rows_count = 0
    for (book, rows), of_piece in zip(pieces, marks, strict=True):
        count = length_of(rows)
        for slot in book.slots:
            position = slot.values[_POSITION, rows]
            if not any_of(position):
                continue
            if found.positions and rows_count + count > ROWS_AT_ONCE:
                yield found
                found, rows_count = _Holdings([], [], []), 0
            found.where.append(slice(start, start + count))
            found.positions.append(position)
            found.prices.append(of_piece[slot.instrument])
            rows_count += count
        start += count
    if found.positions:
        yield found
