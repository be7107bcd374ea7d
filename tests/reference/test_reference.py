"""The auditor itself: what scenarios cannot say in every world, and what must hold after any
sequence of events.
"""

import ast
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.reference.amounts import paid, received
from tests.reference.book import SECOND
from tests.reference.reference import Reference
from tests.reference.stage import qty, usd
from tests.reference.values import (
    BUY,
    CANCELED,
    EXPIRED,
    REJECTED,
    SELL,
    TRADE,
    Order,
    Position,
    SleeveTerms,
)

SYMBOLS = ("ACME", "BETA")


def _reference(*, fee_rate: int = 0, lot: str = "0.01", allow_short: bool = False) -> Reference:
    reference = Reference(fee_rate=fee_rate, time=1000 * SECOND)
    for symbol in SYMBOLS:
        reference.list_instrument(symbol, lot=qty(lot), min_notional=usd("1"))
    reference.open_creator("ann", cash=usd("100000"))
    terms = SleeveTerms(
        cash=usd("10000"), mode="multiplier", ratio=usd("0.1"), allow_short=allow_short
    )
    reference.follow("bob", "ann", terms)
    return reference


def _buy(reference: Reference, quantity: str, *, age: int = 0) -> tuple[str, str]:
    return _fill(reference, BUY, quantity, age=age)


def _fill(reference: Reference, side: int, quantity: str, *, age: int = 0) -> tuple[str, str]:
    (decision,) = reference.fill(
        "ann", "ACME", side, qty(quantity), usd("100"), time=reference.time - age * SECOND
    )
    return decision.outcome, decision.reason


def _held(reference: Reference) -> Position:
    return reference.state().positions["bob", "ann", "ACME"]


def _execute(reference: Reference, order: Order) -> None:
    reference.execution(order.key, TRADE, quantity=order.remaining, price=order.price)


def test_reference_imports_nothing_of_the_engine() -> None:
    for path in Path(__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] == "engine" for name in names), (
                f"{path.name} imports the engine"
            )


def test_paused_comes_before_denied_before_age() -> None:
    reference = _reference()
    reference.pause("bob", "ann")
    reference.deny("bob", "ann", "ACME")
    assert _buy(reference, "50", age=61) == ("skipped", "paused")
    reference.pause("bob", "ann", is_paused=False)
    assert _buy(reference, "50", age=61) == ("skipped", "instrument_denied")
    assert _held(reference).target == 0


def test_a_paused_follower_gives_up_its_carried_remainder_and_still_exits() -> None:
    reference = _reference(lot="1")
    _buy(reference, "55")
    _execute(reference, *reference.open_orders())
    assert _held(reference) == Position(qty("5.5"), qty("5"), 0, usd("500"))
    reference.pause("bob", "ann")
    assert _buy(reference, "1") == ("skipped", "paused")
    assert _held(reference).target == qty("5")
    assert _fill(reference, SELL, "28") == ("ordered", "")
    assert _held(reference).open == qty("-2")


def test_paused_never_raises_a_target_below_an_unfinished_exit() -> None:
    reference = _reference()
    _buy(reference, "50")
    _execute(reference, *reference.open_orders())
    _fill(reference, SELL, "25")
    (exit_order,) = reference.open_orders()
    reference.execution(exit_order.key, CANCELED)
    reference.pause("bob", "ann")
    assert _buy(reference, "10") == ("skipped", "paused")
    assert _held(reference).target == qty("3.5")


def test_buys_reserve_the_fee_above_the_limit() -> None:
    reference = _reference(fee_rate=usd("0.001"))
    _buy(reference, "50")
    sleeve = reference.state().sleeves["bob", "ann"]
    assert sleeve.reserved == usd("503.0025")
    _buy(reference, "2000")
    # (10,000 - 503.0025) / (100.5 * 1.001) = 94.403
    assert [order.quantity for order in reference.open_orders()] == [qty("5"), qty("94.4")]


def test_signals_before_the_end_of_an_unfollowed_subscription_still_count() -> None:
    reference = _reference()
    _buy(reference, "50")
    _execute(reference, *reference.open_orders())
    reference.unfollow("bob", "ann", until=4)
    assert _buy(reference, "10") == ("skipped", "paused")
    assert _fill(reference, SELL, "10") == ("skipped", "below_lot")
    assert _held(reference).target == 0
    assert reference.fill("ann", "ACME", BUY, qty("1"), usd("100")) == []


def test_reports_that_cannot_apply_are_refused() -> None:
    reference = _reference()
    _buy(reference, "50")
    (order,) = reference.open_orders()
    with pytest.raises(ValueError, match="at most 500000000"):
        reference.execution(order.key, TRADE, quantity=qty("5.01"), price=usd("100"))
    with pytest.raises(ValueError, match="expected one of"):
        reference.execution(order.key, "unheard of")
    reference.execution(order.key, EXPIRED)
    with pytest.raises(ValueError, match="an open order"):
        reference.execution(order.key, EXPIRED)


class Walk:
    """A seeded walk through random events that keeps its own sums."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.reference = _reference(
            fee_rate=self.random.choice((0, 1000)),
            lot=self.random.choice(("0.01", "1")),
            allow_short=True,
        )
        terms = SleeveTerms(cash=usd("3000"), max_position_weight=usd("0.4"))
        self.reference.follow("cat", "ann", terms)
        self.cash = {"bob": usd("10000"), "cat": usd("3000")}
        self.held = {(account, symbol): 0 for account in self.cash for symbol in SYMBOLS}
        self.portfolio = dict.fromkeys(SYMBOLS, 0)

    def step(self) -> None:
        match self.random.randrange(6):
            case 0 | 1:
                self.fill(self.random.choice(SYMBOLS), self.random.randrange(-80, 81))
            case 2 | 3:
                self.report(lambda order: self.random.randrange(1, order.remaining + 1))
            case 4:
                self.report(lambda order: 0)
            case 5:
                self.reference.advance(self.reference.time + self.random.randrange(3 * SECOND))
        self.check()

    def fill(self, symbol: str, whole: int) -> None:
        if not whole:
            return
        held = self.portfolio[symbol]
        side = BUY if whole > 0 else SELL
        price = usd(str(self.random.randrange(80, 121)))
        found = self.reference.fill("ann", symbol, side, abs(whole) * qty("1"), price)
        legs = 2 if held * (held + whole) < 0 else 1
        assert [(d.leg, d.account) for d in found] == [
            (n, a) for n in range(legs) for a in self.cash
        ]
        self.portfolio[symbol] += whole

    def report(self, choose: Callable[[Order], int]) -> None:
        orders = self.reference.open_orders()
        if not orders:
            return
        order = self.random.choice(orders)
        if not (quantity := choose(order)):
            self.reference.execution(order.key, self.random.choice((CANCELED, EXPIRED, REJECTED)))
            return
        account, price, fee = (
            order.key.account,
            order.price + self.random.randrange(-999, 999),
            12_345,
        )
        self.reference.execution(order.key, TRADE, quantity=quantity, price=price, fee=fee)
        self.held[account, order.symbol] += order.side * quantity
        change = -paid(quantity, price) if order.side == BUY else received(quantity, price)
        self.cash[account] += change - fee

    def finish(self) -> None:
        """Let ann sell everything and every order be done."""
        for symbol, held in self.portfolio.items():
            self.fill(symbol, -held)
        for _ in range(40):
            while self.reference.open_orders():
                self.report(lambda order: order.remaining)
            self.reference.advance(self.reference.time + 60 * SECOND)
            self.check()

    def check(self) -> None:
        """Compare every sum with the walk's own (P7) and look for orders on both sides."""
        state = self.reference.state()
        assert {account: state.sleeves[account, "ann"].cash for account in self.cash} == self.cash
        sides: dict[tuple[str, str], set[int]] = {}
        for order in self.reference.open_orders():
            sides.setdefault((order.key.account, order.symbol), set()).add(order.side)
        assert all(len(found) == 1 for found in sides.values())
        for (account, _, symbol), holding in state.positions.items():
            assert holding.position == self.held[account, symbol]
            assert (holding.cost > 0) <= (holding.position > 0)
            assert (holding.cost < 0) <= (holding.position < 0)
            assert account == "bob" or holding.target >= 0
            assert holding.target * self.portfolio[symbol] >= 0


@pytest.mark.parametrize("seed", range(60))
def test_p7_any_walk_conserves_money_and_ends_flat_with_its_creator(seed: int) -> None:
    walk = Walk(seed)
    for _ in range(120):
        walk.step()
    walk.finish()
    for holding in walk.reference.state().positions.values():
        assert (holding.target, holding.position, holding.open, holding.cost) == (0, 0, 0, 0)
