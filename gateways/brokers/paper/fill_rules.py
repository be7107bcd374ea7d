"""The paper broker's prices, fees and rejections: pure functions over columns.

Rounding: slippage and fees round against the order, to the micro. All arithmetic is exact.
"""

import numpy as np
from numpy.typing import NDArray

from engine.values.units import MICROS, PRICE_MAX, QUANTITY_ONE

_SCALE = QUANTITY_ONE * MICROS
_HALF = 10**7
# The fee's division is done in two steps of one half of the scale.
assert _HALF * _HALF == _SCALE


def fill_price(side: int, price: int, limit_price: int, slippage_micros: int) -> int | None:
    """Return the price an order fills at, None when its limit (0: market) forbids the mark.

    Units: micros. Rounds: slippage away from the mark, stopped at the limit, at one micro and at
    PRICE_MAX.
    """
    if limit_price and side * (limit_price - price) < 0:
        return None
    slipped = price + side * -(-price * slippage_micros // MICROS)
    if limit_price and side * (limit_price - slipped) < 0:
        slipped = limit_price
    return min(max(slipped, 1), PRICE_MAX)


def fees_micros(quantities: NDArray[np.int64], price: int, rate_micros: int) -> NDArray[np.int64]:
    """Return quantity * price * rate, rounded up to the micro.

    Units: quantities 1e-8, price and rate micros; the notional of each is at most MONEY_MAX. Exact:
    the product is computed in two steps of 1e7.
    """
    if rate_micros == 0 or len(quantities) == 0:
        return np.zeros(len(quantities), np.int64)
    whole, part = divmod(price * rate_micros, _SCALE)
    high, low = divmod(part, _HALF)
    quantities_high = quantities // _HALF
    quantities_low = quantities - quantities_high * _HALF
    middle = quantities_high * low + quantities_low * high
    middle -= -(quantities_low * low) // _HALF
    fees: NDArray[np.int64] = quantities_high * high - (-middle) // _HALF
    if whole:
        fees += quantities * whole
    return fees


def rejected_by_ratio(
    key: int, subscriptions: NDArray[np.int64], ratio_micros: int, seed: int
) -> NDArray[np.bool_]:
    """Mark orders by a hash of id and seed (splitmix64): the choice does not depend on the order
    of arrival.
    """
    base = (key ^ key >> 64 ^ seed * 0x9E3779B97F4A7C15) & (1 << 64) - 1
    mixed: NDArray[np.uint64] = subscriptions.astype(np.uint64) * np.uint64(
        0xD1B54A32D192ED03
    ) + np.uint64(base)
    mixed = (mixed ^ mixed >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ mixed >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    chosen: NDArray[np.bool_] = mixed % np.uint64(MICROS) < np.uint64(ratio_micros)
    return chosen


def rejected_by_count(taken_before: int, count: int, every_n: int) -> NDArray[np.bool_]:
    """Mark every n-th order of all ever taken."""
    chosen: NDArray[np.bool_] = np.arange(taken_before + 1, taken_before + count + 1) % every_n == 0
    return chosen
