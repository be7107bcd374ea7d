"""Exact products and quotients of 64-bit columns.

The product in `a * b // c` may exceed 64 bits. So the quotient is estimated in float64 and
corrected by the remainder. The remainder is computed modulo 2**64, which is exact as long as it is
small. With |a * b| < 2**113 and 0 < c < 2**61 the estimate is so close that the remainder stays
below 2**63. So the result is exact, and no float decides a digit. Rounding is floor unless a name
says otherwise.
"""

import numpy as np
from numpy.typing import NDArray

from engine.columns.reductions import any_of, least, most, rows_of
from engine.values.units import MICROS, QUANTITY_ONE

Int64s = NDArray[np.int64]
Operand = Int64s | int
_NEARLY = 1 - 2**-48
"""The estimate times this is below the exact quotient: a float64 estimate is off by a smaller
share.
"""


def mul_div(a: Int64s, b: Operand, c: Operand) -> Int64s:
    """Compute floor(a * b / c) for each row.

    Shapes: `a` is a column, `b` and `c` are columns of its length, or numbers. The caller knows
    that every result is below 2**62 (`mul_div_within` checks that). Cost: 8 passes, about 6 ns per
    row.
    """
    estimate = a.astype(np.float64)
    estimate *= b
    estimate /= c
    return _corrected(estimate, a, b, c)


def mul_div_within(
    a: Int64s, b: Operand, c: Operand, limit: int
) -> tuple[Int64s, NDArray[np.bool_] | None]:
    """Compute floor(a * b / c) for each row. `limit` is at most 2**61.

    Returns: the quotients, 0 for a row that is beyond +-limit; and a mask of these rows, None if
    there are none.
    """
    estimate = a.astype(np.float64)
    estimate *= b
    estimate /= c
    if not _is_near(estimate, limit):
        return _corrected(estimate, a, b, c), None
    # The estimate decides only rows that are far beyond the limit. Close to it, the exact quotient
    # decides.
    beyond = np.abs(estimate) > limit * (2 - _NEARLY)
    estimate[beyond] = 0.0
    quotient = _corrected(estimate, np.where(beyond, 0, a), b, c)
    beyond |= np.abs(quotient) > limit
    quotient[beyond] = 0
    return quotient, beyond if any_of(beyond) else None


def _is_near(estimate: NDArray[np.float64], limit: int) -> bool:
    """Return whether any row may be beyond +-limit."""
    if not len(estimate):
        return False
    edge = limit * _NEARLY
    return bool(estimate[estimate.argmax()] > edge) or bool(estimate[estimate.argmin()] < -edge)


def _corrected(estimate: NDArray[np.float64], a: Int64s, b: Operand, c: Operand) -> Int64s:
    quotient = estimate.astype(np.int64)
    remainder = a * b
    remainder -= quotient * c
    remainder //= c
    quotient += remainder
    return quotient


def mul_mul_div(
    a: Operand, b: Int64s, ratio: Int64s, c: Operand, limit: int
) -> tuple[Int64s, NDArray[np.bool_] | None]:
    """Compute floor(a * b * ratio / (c * 1e6)) for each row, rounded only once. `ratio` is in
    micros. All else is as in `mul_div_within`.

    The quotient q and the remainder m of a * b / c are multiplied by the ratio r separately:
    floor((q * r + floor(m * r / c)) / 1e6) is the same number.
    """
    if len(ratio) and least(ratio) == most(ratio) == MICROS:
        return mul_div_within(b, a, c, limit)
    whole, beyond = mul_div_within(b, a, c, limit)
    rest = b * a - whole * c
    if beyond is not None:
        rest[beyond] = 0
    carried = mul_div(rest, ratio, c)
    if beyond is None and len(whole) and _is_small(whole, ratio, limit):
        whole *= ratio
        whole += carried
        whole //= MICROS
        return whole, None
    # whole * ratio may exceed 64 bits, but only its millionth is needed.
    high, low = np.divmod(whole, MICROS)
    too_large = np.abs(high.astype(np.float64) * ratio) > 2.0 * limit
    high[too_large] = 0
    result = high * ratio + (low * ratio + carried) // MICROS
    too_large |= np.abs(result) > limit
    if beyond is not None:
        _shrink_exactly(result, too_large, rows_of(beyond), a, b, ratio, c, limit)
    result[too_large] = 0
    return result, too_large if any_of(too_large) else None


def _is_small(whole: Int64s, ratio: Int64s, limit: int) -> bool:
    """Return whether whole * ratio plus the remainder's share fits 64 bits, and its millionth is
    within the limit.
    """
    return max(most(whole), -least(whole)) * most(ratio) < min(1 << 61, limit * MICROS // 2)


def _shrink_exactly(
    result: Int64s,
    too_large: NDArray[np.bool_],
    rows: NDArray[np.int64],
    a: Operand,
    b: Int64s,
    ratio: Int64s,
    c: Operand,
    limit: int,
) -> None:
    """Compute the rows whose a * b / c is beyond the limit although the result, with a small ratio,
    is not. Such rows are rare, and each costs one exact division.
    """
    a, c = np.broadcast_to(a, b.shape), np.broadcast_to(c, b.shape)
    estimate = b[rows].astype(np.float64) * a[rows] / c[rows] * ratio[rows] / MICROS
    too_large[rows] = True
    for row in rows[np.abs(estimate) < 2.0 * limit].tolist():
        exact = int(b[row]) * int(a[row]) * int(ratio[row]) // (int(c[row]) * MICROS)
        if abs(exact) <= limit:
            result[row], too_large[row] = exact, False


def notional_floor(quantity: Int64s, price: Operand) -> Int64s:
    """Value a quantity at a price. Units: 1e-8 times micros gives micros. Rounds: down."""
    return mul_div(quantity, price, QUANTITY_ONE)


def notional_ceil(quantity: Int64s, price: Operand) -> Int64s:
    """Value a quantity at a price. Units: 1e-8 times micros gives micros. Rounds: up."""
    return -mul_div(-quantity, price, QUANTITY_ONE)


def fee_ceil(notional: Int64s, fee_rate: Operand) -> Int64s:
    """Compute a fee on a notional. Units: `fee_rate` micros of the notional. Rounds: up."""
    if isinstance(fee_rate, int) and fee_rate == 0:
        return np.zeros_like(notional)
    return -mul_div(-notional, fee_rate, MICROS)


def floor_to(values: Int64s, step: Operand) -> Int64s:
    """Round values down to whole steps, such as quantities to lots."""
    if isinstance(step, int) and step == 1:
        return values.copy()
    lots = values // step
    lots *= step
    return lots


def value_floor(quantity: int, price: int) -> int:
    """Value one quantity at one price. Rounds: down."""
    return quantity * price // QUANTITY_ONE


def value_ceil(quantity: int, price: int) -> int:
    """Value one quantity at one price. Rounds: up."""
    return -(-quantity * price // QUANTITY_ONE)


def entry_limit_price(price: int, side: int, slippage_cap: int) -> int:
    """Compute an entry's limit: price * (1 +- cap). Units: micros. Rounds: toward the price, at
    least one micro.
    """
    if side > 0:
        return max(price * (MICROS + slippage_cap) // MICROS, 1)
    return max(-(-price * (MICROS - slippage_cap) // MICROS), 1)
