"""RULES.md is true of the engine, too: it decides every example as the page says, in parts of any
size.
"""

import numpy as np
import pytest

from engine.messages.blocks import CorrectionsReported, ExecutionsReported
from engine.values.order_status import ExecType
from tests.engine.world.engine_world import EngineWorld
from tests.reference.rules_page import PAGE, BrokerTrade, Example, examples, play
from tests.reference.values import Decision, Order


class EngineRules:
    """The engine, with the last of what may be corrected."""

    def __init__(self, part_rows: int) -> None:
        self.engine = EngineWorld(part_rows=lambda: part_rows)
        self._traded: dict[str, ExecutionsReported] = {}
        self._filled = ("", 0, "")

        self.list_instrument = self.engine.list_instrument
        self.open_creator = self.engine.open_creator
        self.follow = self.engine.follow
        self.unfollow = self.engine.unfollow
        self.pause = self.engine.pause
        self.mark = self.engine.mark
        self.open_orders = self.engine.open_orders
        self.execute = self.engine.execute
        self.end = self.engine.end
        self.advance = self.engine.advance
        self.position = self.engine.position
        self.sleeve = self.engine.sleeve
        self.portfolio = self.engine.portfolio

    def trade(self, order: Order, quantity: int, price: int) -> BrokerTrade:
        report = self.engine.broker_side.reported(order, ExecType.TRADE, quantity, price)
        assert not self.engine.broker_side.report(report)
        name = f"{report.prefix}{report.numbers[0]}"
        self._traded[name] = report
        return BrokerTrade(order, name)

    def correct_trade(self, trade: BrokerTrade, quantity: int, price: int) -> None:
        old = self._traded[trade.name]
        report = CorrectionsReported(
            0,
            old.prefix,
            trade.name,
            old.key,
            self.engine.clock.time,
            np.array([self.engine.broker_side.next_execution()]),
            np.array([-1]),
            old.subscriptions,
            np.array([ExecType.TRADE_CORRECT if quantity else ExecType.TRADE_CANCEL]),
            np.array([quantity]),
            np.array([price]),
            np.array([0]),
            np.array([0]),
        )
        assert not self.engine.broker_side.correct(report)

    def fill(
        self,
        creator: str,
        symbol: str,
        side: int,
        quantity: int,
        price: int,
        *,
        age: int = 0,
        order_quantity: int = 0,
    ) -> list[Decision]:
        decisions = self.engine.fill(
            creator, symbol, side, quantity, price, age=age, order_quantity=order_quantity
        )
        self._filled = (symbol, side, self.engine.creator_side.last_fill)
        return decisions

    def correct_last_fill(self, quantity: int, price: int) -> list[str]:
        symbol, side, name = self._filled
        refused, decisions = self.engine.correct_fill(
            "ann",
            symbol,
            side,
            name,
            quantity=quantity,
            price=price,
            is_cancel=not quantity,
        )
        assert not refused
        return [decision.reason or decision.outcome for decision in decisions]


@pytest.mark.parametrize("part_rows", [1, 1000])
@pytest.mark.parametrize("example", examples(PAGE.read_text()), ids=lambda example: example.heading)
def test_engine_decides_as_the_rules_page_says(example: Example, part_rows: int) -> None:
    world = EngineRules(part_rows)
    play(example, world)
    world.engine.check()
