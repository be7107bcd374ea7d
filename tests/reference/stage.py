"""Short ways to tell scenarios: amounts as decimal text, one creator, one follower."""

from collections.abc import Callable
from fractions import Fraction

from tests.reference.values import BUY, SELL, Decision, Order, Position, SleeveTerms
from tests.reference.world import World

Scenario = Callable[[World], None]


def usd(amount: str) -> int:
    """Read money, a price or a ratio exactly. Units: micros."""
    return _whole(Fraction(amount) * 1_000_000)


def qty(amount: str) -> int:
    """Read a quantity exactly. Units: 1e-8."""
    return _whole(Fraction(amount) * 100_000_000)


def _whole(value: Fraction) -> int:
    assert value.denominator == 1
    return int(value)


class Stage:
    """A world with the instruments ACME and BETA and the creator ann, who has 100,000 in cash."""

    def __init__(self, world: World, *, lot: str = "0.01", min_notional: str = "1") -> None:
        self.world = world
        for symbol in ("ACME", "BETA"):
            world.list_instrument(symbol, lot=qty(lot), min_notional=usd(min_notional))
        world.open_creator("ann", cash=usd("100000"))

    def follow(
        self,
        account: str = "bob",
        *,
        cash: str = "10000",
        mode: str = "proportional",
        ratio: str = "1",
        amount: str = "0",
        max_order_notional: str = "0",
        max_position_weight: str = "0",
        allow_short: bool = False,
    ) -> None:
        """Let an account follow ann."""
        terms = SleeveTerms(
            cash=usd(cash),
            mode=mode,
            ratio=usd(ratio),
            amount=usd(amount),
            max_order_notional=usd(max_order_notional),
            max_position_weight=usd(max_position_weight),
            allow_short=allow_short,
        )
        self.world.follow(account, "ann", terms)

    def buys(
        self, quantity: str, price: str, symbol: str = "ACME", *, age: int = 0, of: str = "0"
    ) -> list[str]:
        """Let ann buy. Returns: the dispositions, leg by leg, then by subscription: an outcome, or
        the reason of a skip.
        """
        return self._fills(symbol, BUY, quantity, price, age, of)

    def sells(
        self, quantity: str, price: str, symbol: str = "ACME", *, age: int = 0, of: str = "0"
    ) -> list[str]:
        """Let ann sell; else as `buys`."""
        return self._fills(symbol, SELL, quantity, price, age, of)

    def _fills(
        self, symbol: str, side: int, quantity: str, price: str, age: int, of: str
    ) -> list[str]:
        decisions = self.world.fill(
            "ann", symbol, side, qty(quantity), usd(price), age=age, order_quantity=qty(of)
        )
        return [_shown(decision) for decision in decisions]

    def order(self) -> Order:
        """Find the only open order."""
        (order,) = self.world.open_orders()
        return order

    def holding(self, account: str = "bob", symbol: str = "ACME") -> Position:
        """See what an account holds of ann's trades."""
        return self.world.position(account, "ann", symbol)

    def expect_holding(
        self,
        target: str,
        position: str,
        open_: str = "0",
        *,
        account: str = "bob",
        symbol: str = "ACME",
    ) -> None:
        """Check t, p and o."""
        held = self.holding(account, symbol)
        found = (held.target, held.position, held.open)
        assert found == (qty(target), qty(position), qty(open_)), f"{account} {symbol}: {found}"

    def expect_order(
        self,
        side: int,
        quantity: str,
        limit_price: str,
        *,
        is_exit: bool = False,
        leg: int = 0,
        attempt: int = 0,
    ) -> Order:
        """Check the only open order and return it."""
        order = self.order()
        assert (order.side, order.quantity, order.limit_price) == (
            side,
            qty(quantity),
            usd(limit_price),
        )
        assert (order.is_exit, order.key.leg, order.key.attempt) == (is_exit, leg, attempt)
        return order

    def expect_money(self, cash: str, reserved: str = "0", *, account: str = "bob") -> None:
        """Check cash and reservations."""
        sleeve = self.world.sleeve(account, "ann")
        assert (sleeve.cash, sleeve.reserved) == (usd(cash), usd(reserved))


def _shown(decision: Decision) -> str:
    assert (decision.outcome == "skipped") == bool(decision.reason)
    assert (decision.outcome == "ordered") == (decision.order is not None)
    return decision.reason or decision.outcome


def tenth_stage(
    world: World, *, lot: str = "0.01", allow_short: bool = False, weight: str = "0"
) -> Stage:
    """Make a stage on which the follower takes a tenth of every leg (multiplier 0.1)."""
    stage = Stage(world, lot=lot)
    stage.follow(
        mode="multiplier", ratio="0.1", allow_short=allow_short, max_position_weight=weight
    )
    return stage
