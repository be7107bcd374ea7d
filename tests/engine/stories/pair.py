"""Two worlds side by side, the engine and the reference, and the comparison of all that can be seen
in them.
"""

from dataclasses import replace
from typing import Any

from tests.engine.invariants import demand_invariants
from tests.engine.stories.setting import Setting, Sleeving, terms_of
from tests.engine.world.engine_world import EngineWorld
from tests.reference.values import COMMAND, Decision, Order, Position
from tests.reference.world import ReferenceWorld

SECOND = 10**9
GOES_ON = "active", "paused"


def comparable(order: Order | None) -> Any:
    """Return an order with a key that both worlds agree on: an order of a command is known by its
    symbol alone.

    The engine numbers a book's instruments and batches of commands, the reference a creator's
    instruments and single commands.
    """
    if order is None or order.key.cause_kind != COMMAND:
        return order
    return replace(order, key=order.key._replace(cause_number=-1, leg=-1))


def sorted_orders(orders: list[Order]) -> list[Order]:
    """Return orders in an order that is the same in both worlds."""
    return sorted(orders, key=lambda order: (comparable(order).key, order.symbol))


def by_leg(decisions: list[Decision]) -> list[Decision]:
    """Return decisions by leg, then by account."""
    return sorted(decisions, key=lambda decision: (decision.leg, decision.account))


class Pair:
    """The engine and the reference in one story."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self._parts_count = 0
        self.engine = EngineWorld(fee_rate=setting.fee_rate, part_rows=self._part_rows)
        self.reference = ReferenceWorld(fee_rate=setting.fee_rate)
        self.followed: list[tuple[str, str]] = []
        """Every account and creator with a subscription, once for each of them."""
        for number, (lot, min_notional) in enumerate(setting.instruments):
            self.both("list_instrument", f"S{number}", lot=lot, min_notional=min_notional)
        for number, cash in enumerate(setting.creators):
            broker = setting.brokers[number % len(setting.brokers)]
            self.both("open_creator", f"c{number}", cash=cash, broker=broker)
        for sleeve in setting.sleeves:
            self.follow(sleeve)
        self.compare(has_corrections=False)

    def _part_rows(self) -> int:
        sizes = self.setting.part_rows
        self._parts_count += 1
        return sizes[self._parts_count % len(sizes)]

    def both(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Do one thing in both worlds. Returns: the results of the engine and of the reference."""
        return getattr(self.engine, name)(*args, **kwargs), getattr(self.reference, name)(
            *args, **kwargs
        )

    def status(self, pair: tuple[str, str]) -> str:
        """Return the status of an account's subscription to a creator."""
        return self.reference.sleeve(*pair).status if pair in self.followed else "ended"

    def follow(self, sleeve: Sleeving) -> None:
        """Begin a subscription, unless the one before has not ended."""
        pair = f"a{sleeve.account}", f"c{sleeve.creator % len(self.setting.creators)}"
        if self.status(pair) == "ended":
            self.both("follow", *pair, terms_of(sleeve))
            self.followed.append(pair)

    def pick(self, choice: int) -> tuple[Order, Order] | None:
        """Choose an open order, as both worlds name it."""
        mine = sorted_orders(self.engine.open_orders())
        theirs = sorted_orders(self.reference.open_orders())
        return (mine[choice % len(mine)], theirs[choice % len(theirs)]) if mine else None

    def compare(self, *, has_corrections: bool) -> None:
        """Compare every order, position, sleeve and portfolio (P1, P7)."""
        demand_invariants(self.engine.followers.live.state, has_corrections=has_corrections)
        mine = sorted_orders(self.engine.open_orders())
        theirs = sorted_orders(self.reference.open_orders())
        assert [comparable(order) for order in mine] == [comparable(order) for order in theirs]
        expected = self.reference.book.state()
        for pair in set(self.followed):
            assert self.engine.sleeve(*pair) == expected.sleeves[pair], pair
            for number in range(len(self.setting.instruments)):
                at = (*pair, f"S{number}")
                position = expected.positions.get(at, Position(0, 0, 0, 0))
                assert self.engine.position(*at) == position, at
        for creator, portfolio in expected.creators.items():
            assert self.engine.portfolio(creator) == portfolio
