"""The slow auditor's limits of an increase, in their order, and what each does to the target."""

from typing import NamedTuple

from tests.reference import amounts
from tests.reference.book import SECOND, Cause, Instrument, Subscription, base_of
from tests.reference.legs import Ask
from tests.reference.values import BUY

ENTRY_WINDOW = 60 * SECOND


class Increase(NamedTuple):
    """An increase toward a target, for a cause: `marks` are those of the creator's newest signal,
    `time` is now.
    """

    subscription: Subscription
    symbol: str
    side: int
    cause: Cause
    instrument: Instrument
    marks: dict[str, int]
    time: int
    slippage_cap: int


def limited(increase: Increase) -> Ask:
    """Find the quantity of an increase that the limits leave, and lower the target to what is
    reachable.
    """
    instrument, side, price = increase.instrument, increase.side, increase.cause.price
    holding = increase.subscription.holding(increase.symbol)
    base = base_of(holding, side)
    reason = barred(increase)
    if reason:
        holding.target = side * min(side * holding.target, side * base)
        return Ask(side, reason=reason)
    whole = instrument.to_lot(side * (holding.target - base))
    if whole < instrument.lot:
        return Ask(side, reason="below_lot")
    if amounts.value_of(whole, price) < instrument.min_notional:
        return Ask(side, reason="below_min_notional")
    quantity = whole
    for name, most in _limits(increase, abs(base)):
        quantity = min(quantity, instrument.to_lot(most))
        if quantity < instrument.lot or amounts.value_of(quantity, price) < instrument.min_notional:
            holding.target = base
            return Ask(side, reason=name)
    if quantity < whole:
        holding.target = base + side * quantity
    return Ask(side, quantity)


def barred(increase: Increase) -> str:
    """Return the reason why an increase is not allowed at all; empty when it is allowed."""
    if increase.subscription.equity(increase.marks) <= 0:
        # A follow-up's only: a signal's equity is asked before it moves the target.
        return "subscription_equity"
    if increase.subscription.status != "active":
        return "paused"
    if increase.symbol in increase.subscription.denied:
        return "instrument_denied"
    return "entry_window" if increase.time - increase.cause.time > ENTRY_WINDOW else ""


def _limits(increase: Increase, held: int) -> list[tuple[str, int]]:
    """Return each limit that is set with the quantity that it allows, in their order."""
    subscription, price, limits = increase.subscription, increase.cause.price, []
    if subscription.terms.max_order_notional:
        limits.append(
            ("max_order_notional", amounts.afforded(subscription.terms.max_order_notional, price))
        )
    if subscription.terms.max_position_weight:
        equity = subscription.equity(increase.marks)
        most = amounts.weighted(subscription.terms.max_position_weight, equity, price)
        limits.append(("max_position_weight", most - held))
    if increase.side == BUY:
        limit = amounts.limit_of(price, increase.side, increase.slippage_cap)
        most = amounts.reservable(
            subscription.available, limit, subscription.fee_rate, increase.instrument.lot
        )
    else:
        most = amounts.afforded(subscription.available, price)
    return [*limits, ("available_cash", most)]
