"""Checks of the numbers in a broker's reports: those that no trade can have, and those that are a
fact but can hardly be right.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.columns.arithmetic import Int64s, notional_floor
from engine.columns.reductions import all_of, any_of, most
from engine.follower.rows import per_row
from engine.messages.blocks import ExecutionsReported
from engine.values.order_status import ExecType
from engine.values.order_terms import OrderTerms
from engine.values.units import MONEY_MAX, PRICE_MAX, QUANTITY_MAX, QUANTITY_ONE

BEYOND_LIMIT_PERCENT = 10
"""A trade whose price is worse than its order's limit by more than this is implausible."""


class WrongNumbers(NamedTuple):
    """Rows of a report with a number that no trade can have, and why."""

    rows: NDArray[np.int64]
    reason: str
    why: str


class Implausible(NamedTuple):
    """Trades that count, but that an operator should look at: how many, and the first of them."""

    report: ExecutionsReported
    rows: NDArray[np.int64]
    why: str


def wrong_numbers(report: ExecutionsReported, chosen: NDArray[np.bool_]) -> Iterator[WrongNumbers]:
    """Find the trades among some rows whose numbers are out of range. No row is found twice."""
    left = chosen & (report.exec_types == int(ExecType.TRADE))
    for name, column, low, high in (
        ("last_qty", report.quantities, 1, QUANTITY_MAX),
        ("last_px", report.prices, 1, PRICE_MAX),
        ("fee", report.fees, -MONEY_MAX, MONEY_MAX),
    ):
        wrong = left & ((column < low) | (column > high))
        if any_of(wrong):
            rows = np.flatnonzero(wrong)
            why = f"{name}: expected {low} to {high} units, found {int(column[rows[0]])}"
            yield WrongNumbers(rows, "number", why)
            left &= ~wrong
    # Far from exact, and far from where a product of two allowed numbers would exceed 64 bits.
    notionals = report.quantities.astype(np.float64) * report.prices
    wrong = left & (notionals > float(MONEY_MAX) * QUANTITY_ONE)
    if any_of(wrong):
        why = f"expected a notional of at most {MONEY_MAX} micros, found more"
        yield WrongNumbers(np.flatnonzero(wrong), "out_of_range", why)


def implausible(report: ExecutionsReported, terms: OrderTerms) -> Iterator[Implausible]:
    """Find the trades that can hardly be right for their orders' terms: far beyond the limit price,
    or with a fee above the notional.
    """
    trades = report.exec_types == int(ExecType.TRADE)
    low, high = _bounds(terms)
    beyond = trades & ((report.prices < low) | (report.prices > high))
    if any_of(beyond):
        why = f"expected prices within {BEYOND_LIMIT_PERCENT} % of the limit, found one beyond"
        yield Implausible(report, np.flatnonzero(beyond), why)
    costly = trades & (report.fees > notional_floor(report.quantities, report.prices))
    costly &= report.fees > 1
    if any_of(costly):
        why = "expected a fee of at most the notional, found one above"
        yield Implausible(report, np.flatnonzero(costly), why)


def are_plausible(
    terms: Sequence[OrderTerms],
    counts: Sequence[int],
    prices: Int64s,
    fees: Int64s,
    least_notional: int,
) -> bool:
    """Return whether trades of whole groups are surely plausible. `counts` are the groups' rows,
    `least_notional` is one that no trade is below.

    Cost: two comparisons a row (`latency`).
    """
    if most(fees) > least_notional:
        return False
    lows, highs = zip(*map(_bounds, terms), strict=True)
    return all_of((prices >= per_row(lows, counts)) & (prices <= per_row(highs, counts)))


def _bounds(terms: OrderTerms) -> tuple[int, int]:
    """Return the lowest and highest price that is plausible. An order without a limit has none."""
    if not terms.limit_price:
        return 0, PRICE_MAX
    room = terms.limit_price * BEYOND_LIMIT_PERCENT // 100
    if terms.side > 0:
        return 0, terms.limit_price + room
    return terms.limit_price - room, PRICE_MAX
