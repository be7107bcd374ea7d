"""Valuation: what rows are worth at given marks."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from engine.columns.arithmetic import Int64s, mul_div_within
from engine.columns.reductions import any_of, least, most
from engine.follower.book import Book, Mask, Rows, joined
from engine.follower.sizing.pieces import length_of, per_row, ranges
from engine.values.units import MONEY_MAX, QUANTITY_ONE

ROWS_MAX = 4096
"""Rows of several books that are decided batched, so that a pass stays in the cache; a larger book
is a batch by itself.
"""


def equity_of(
    cash: NDArray[np.integer], pieces: Sequence[tuple[Book, Rows]], marks: Sequence[dict[int, int]]
) -> tuple[Int64s, Mask | None]:
    """Value rows whose cash is given: cash and every position at its mark, each position floored to
    the micro.

    Returns: equity in micros, and which rows are beyond MONEY_MAX (None: none is). Marks hold every
    instrument of a piece's creator.
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
    pieces: Sequence[tuple[Book, Rows]], marks: Sequence[dict[int, int]]
) -> Iterator[tuple[list[slice], list[Int64s], list[int]]]:
    """Name what the rows hold, so much at a time as is valued in one pass: where the rows are,
    positions, and their mark.
    """
    where: list[slice] = []
    positions: list[Int64s] = []
    prices: list[int] = []
    start = rows_count = 0
    for (book, rows), of_piece in zip(pieces, marks, strict=True):
        count = length_of(rows)
        for slot in book.slots:
            position = slot.values[1, rows]
            if not any_of(position):
                continue
            if positions and rows_count + count > ROWS_MAX:
                yield where, positions, prices
                where, positions, prices, rows_count = [], [], [], 0
            where.append(slice(start, start + count))
            positions.append(position)
            prices.append(of_piece[slot.instrument])
            rows_count += count
        start += count
    if positions:
        yield where, positions, prices
