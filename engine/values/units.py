"""Fixed-point units: what the integers mean, and how text becomes an integer and back.

Money and prices are micros (1e-6 of the account's currency), quantities are 1e-8 units. Ratios and
weights are micros (1.0 = 1_000_000), times are nanoseconds since the epoch in UTC. No float holds
money or a quantity. Text is read exactly or refused. The bounds are chosen so that every product in
this package is exact (`engine.columns.arithmetic`).
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation

MICROS = 1_000_000
QUANTITY_ONE = 100_000_000
NS_PER_S = 1_000_000_000

MONEY_MAX = 10**17
"""Largest amount of money, micros: one hundred billion units of the currency."""
PRICE_MAX = 10**13
"""Largest price, micros: ten million units of the currency."""
QUANTITY_MAX = 10**17
"""Largest quantity, 1e-8 units: one billion units."""
POSITION_UNKNOWN = -(2**63)
"""The position that stands for an unknown one. No position is that large."""
RATIO_MAX = 10**9
"""Largest ratio, micros: one thousand times."""
TIME_MAX_NS = 2**62
"""Latest time, ns: in the year 2116."""

# The division in `engine.columns.arithmetic.mul_div` is exact only for such products and divisors.
assert max(MONEY_MAX * QUANTITY_MAX, PRICE_MAX * QUANTITY_MAX, MONEY_MAX * QUANTITY_ONE) < 2**113
assert max(MONEY_MAX, QUANTITY_MAX, PRICE_MAX) < 2**61


class UnitError(ValueError):
    """A text is not a number of the unit. The message says what was expected and what was found."""


def _scaled(text: str | int | Decimal, digits: int, maximum: int, what: str) -> int:
    try:
        value = Decimal(text)
    except (InvalidOperation, TypeError, ValueError):
        raise UnitError(f"{what}: expected a decimal number, found {_shown(text)}") from None
    if not value.is_finite():
        raise UnitError(f"{what}: expected a finite decimal number, found {_shown(text)}")
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)
    # Exponents are checked before scaling, so that 1e999999999 costs nothing.
    if value and value.adjusted() > 30:
        raise UnitError(
            f"{what}: expected at most {format_scaled(maximum, digits)}, found {_shown(text)}"
        )
    if value and value.adjusted() < -digits:
        raise UnitError(f"{what}: expected at most {digits} decimal places, found {_shown(text)}")
    sign, figures, _ = value.as_tuple()
    whole = int("".join(map(str, figures)) or "0")
    shift = exponent + digits
    if shift >= 0:
        scaled: int = whole * 10**shift
    else:
        scaled, rest = divmod(whole, 10**-shift)
        if rest:
            raise UnitError(
                f"{what}: expected at most {digits} decimal places, found {_shown(text)}"
            )
    if scaled > maximum:
        raise UnitError(
            f"{what}: expected at most {format_scaled(maximum, digits)}, found {_shown(text)}"
        )
    return -scaled if sign else scaled


def _shown(text: object) -> str:
    shown = repr(str(text)) if isinstance(text, Decimal) else repr(text)
    return shown if len(shown) <= 40 else shown[:37] + "..."


def money_micros(text: str | int | Decimal, what: str = "money") -> int:
    """Read an amount exactly. Units: micros. Raises: UnitError beyond 6 decimals or MONEY_MAX."""
    return _scaled(text, 6, MONEY_MAX, what)


def price_micros(text: str | int | Decimal, what: str = "price") -> int:
    """Read a price exactly. Units: micros. Raises: UnitError unless 0 < price <= PRICE_MAX with at
    most 6 decimals.
    """
    price = _scaled(text, 6, PRICE_MAX, what)
    if price <= 0:
        raise UnitError(f"{what}: expected a number above zero, found {_shown(text)}")
    return price


def quantity_e8(text: str | int | Decimal, what: str = "quantity") -> int:
    """Read a quantity exactly. Units: 1e-8. Raises: UnitError unless 0 < quantity <= QUANTITY_MAX
    with at most 8 decimals.
    """
    quantity = signed_quantity_e8(text, what)
    if quantity <= 0:
        raise UnitError(f"{what}: expected a number above zero, found {_shown(text)}")
    return quantity


def signed_quantity_e8(text: str | int | Decimal, what: str = "quantity") -> int:
    """Read a position exactly; zero and short positions are allowed. Units: 1e-8. Raises:
    UnitError.
    """
    return _scaled(text, 8, QUANTITY_MAX, what)


def ratio_micros(text: str | int | Decimal, what: str = "ratio") -> int:
    """Read a ratio exactly. Units: micros (1.0 = 1_000_000). Raises: UnitError unless 0 < ratio <=
    RATIO_MAX.
    """
    ratio = _scaled(text, 6, RATIO_MAX, what)
    if ratio <= 0:
        raise UnitError(f"{what}: expected a number above zero, found {_shown(text)}")
    return ratio


def weight_micros(text: str | int | Decimal, what: str = "weight") -> int:
    """Read a share of equity exactly; 0 is no limit. Units: micros. Raises: UnitError unless 0 <=
    weight <= RATIO_MAX.
    """
    weight = _scaled(text, 6, RATIO_MAX, what)
    if weight < 0:
        raise UnitError(f"{what}: expected zero or more, found {_shown(text)}")
    return weight


def format_scaled(value: int, digits: int) -> str:
    """Return an integer of 10**-digits units as an exact decimal text, without exponent or trailing
    zeros: `-1.05`.
    """
    sign = "-" if value < 0 else ""
    whole, rest = divmod(abs(int(value)), 10**digits)
    fraction = f"{rest:0{digits}d}".rstrip("0") if digits else ""
    return f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}"


def format_micros(value: int) -> str:
    """Return money, a price or a ratio as exact decimal text."""
    return format_scaled(value, 6)


def format_quantity(value: int) -> str:
    """Return a quantity as exact decimal text."""
    return format_scaled(value, 8)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def time_ns(text: str, what: str = "time") -> int:
    """Read an RFC 3339 time with a zone. Units: ns since the epoch, exact. Raises: UnitError."""
    whole, digits = text, ""
    dot = text.find(".")
    if dot >= 0:
        end = dot + 1
        while end < len(text) and text[end].isdigit():
            end += 1
        whole, digits = text[:dot] + text[end:], text[dot + 1 : end]
    try:
        moment = datetime.fromisoformat(whole)
    except ValueError:
        raise UnitError(
            f"{what}: expected a time like 2026-01-31T20:00:00Z, found {_shown(text)}"
        ) from None
    if moment.tzinfo is None or len(digits) > 9 or (dot >= 0 and not digits):
        raise UnitError(
            f"{what}: expected a time with a zone and at most 9 decimals, found {_shown(text)}"
        )
    since = moment - _EPOCH
    seconds = since // timedelta(seconds=1)
    value: int = seconds * NS_PER_S + int(digits.ljust(9, "0") or "0")
    if not 0 <= value < TIME_MAX_NS:
        raise UnitError(f"{what}: expected a time between 1970 and 2116, found {_shown(text)}")
    return value


def format_time(value_ns: int) -> str:
    """Return a time as RFC 3339 text in UTC, with only the decimals that it needs."""
    seconds, rest = divmod(int(value_ns), NS_PER_S)
    shown = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{shown}.{rest:09d}".rstrip("0") + "Z" if rest else f"{shown}Z"
