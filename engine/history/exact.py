"""Exact products of 64-bit columns by splitting: no float, and nothing shared with the engine's own
arithmetic.

A quantity is a * 10**8 + b and a price is c * 10**8 + d. So quantity * price / 10**8 = a * price +
b * c + b * d / 10**8. Each product fits 64 bits as long as the result does.
"""

from typing import NamedTuple

import numpy as np

from engine.history.storage import Ints

_ONE = 100_000_000
_MICROS = 1_000_000
_SAFE = 1 << 62


class Notionals(NamedTuple):
    """quantity * price = floors * 10**8 + rests, exactly. Units: floors in micros, 0 <= rests <
    10**8.
    """

    floors: Ints
    rests: Ints

    @property
    def ceils(self) -> Ints:
        """The notionals rounded up."""
        return self.floors + (self.rests > 0)


def notionals(quantities: Ints, prices: Ints) -> Notionals:
    """Return the notionals of quantities (1e-8, not negative) at prices (micros). Raises:
    OverflowError when one does not fit 64 bits.
    """
    if not len(quantities) or int(quantities.max()) * int(prices.max()) < _SAFE:
        return Notionals(*_split(quantities * prices))
    whole, part = _split(quantities)
    _check(whole, prices)
    high, low = _split(prices)
    floors, rests = _split(part * low)
    floors += whole * prices
    floors += part * high
    return Notionals(floors, rests)


def _split(values: Ints) -> tuple[Ints, Ints]:
    """Return quotients and remainders of a division by 10**8. Cost: less than divmod, which does
    not know that the divisor is a constant.
    """
    quotients = values // _ONE
    return quotients, values - quotients * _ONE


def fees_ceil(amounts: Ints, rates: Ints) -> Ints:
    """Return a share of amounts, rounded up. Units: rates in micros of the amount. Raises:
    OverflowError.
    """
    if not rates.any():
        return np.zeros_like(amounts)
    whole, part = np.divmod(amounts, _MICROS)
    _check(whole, rates)
    return whole * rates - (-(part * rates) // _MICROS)


def _check(left: Ints, right: Ints) -> None:
    """Refuse products beyond 62 bits. The quick bound decides all but extreme cases."""
    if not len(left) or int(left.max()) * int(right.max()) < _SAFE:
        return
    # The float's error is far below the room between 2**62 and 2**63.
    if float((left.astype(np.float64) * right).max()) >= _SAFE:
        raise OverflowError("notional: expected amounts below 2**62 micros, found more")
