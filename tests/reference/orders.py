"""The slow auditor's orders: one for each cause, subscription, leg and attempt. An order against
open ones of the other side is netted instead.
"""

from tests.reference import amounts
from tests.reference.book import Cause, Placing, Subscription, net
from tests.reference.legs import Ask
from tests.reference.values import BUY, SELL, Order, OrderKey


class Orders:
    """Every order placed so far."""

    def __init__(self, slippage_cap: int) -> None:
        self._slippage_cap = slippage_cap
        self._attempts: dict[OrderKey, int] = {}
        self.symbol_of: dict[OrderKey, str] = {}
        self.placings: dict[OrderKey, Placing] = {}

    def last_attempt(self, key: OrderKey) -> int:
        """Return the last attempt placed for an order's cause. A correction may have an earlier
        one worked again.
        """
        return self._attempts.get(key._replace(attempt=0), 0)

    def exit_all(
        self, subscription: Subscription, symbol: str, cause: Cause, attempt: int = 0
    ) -> Order | None:
        """Sell or cover everything held and on its way, without lots; None when netted or when
        there is nothing.
        """
        reach = subscription.holding(symbol).reach
        ask = Ask(SELL if reach > 0 else BUY, abs(reach), is_exit=True)
        outcome = self.netted_or_placed(subscription, symbol, cause, attempt, ask)
        return outcome if isinstance(outcome, Order) else None

    def netted_or_placed(
        self, subscription: Subscription, symbol: str, cause: Cause, attempt: int, ask: Ask
    ) -> Order | str:
        """Cancel open orders of the other side for the cause, or else place an order."""
        holding = subscription.holding(symbol)
        if ask.quantity and holding.open * ask.side < 0:
            return net(holding, cause, attempt=max(attempt, 1))
        return self.placed_or_reason(subscription, symbol, cause, attempt, ask)

    def placed_or_reason(
        self, subscription: Subscription, symbol: str, cause: Cause, attempt: int, ask: Ask
    ) -> Order | str:
        """Place an order. Returns: it, or the reason for none."""
        if not ask.quantity:
            return ask.reason
        key = OrderKey(
            cause.kind, cause.number, subscription.account, subscription.creator, cause.leg, attempt
        )
        assert key not in self.symbol_of, (
            f"one order per cause, subscription, leg and attempt; {key} was placed before"
        )
        limit = 0 if ask.is_exit else amounts.limit_of(cause.price, ask.side, self._slippage_cap)
        order = Order(
            key, symbol, ask.side, ask.quantity, cause.price, limit, ask.is_exit, ask.quantity
        )
        holding = subscription.holding(symbol)
        holding.orders[key] = order
        if ask.is_exit:
            holding.follow_up = None
        self.symbol_of[key] = symbol
        self._attempts[key._replace(attempt=0)] = max(attempt, self.last_attempt(key))
        self.placings[key] = Placing(subscription, order, cause.time)
        return order
