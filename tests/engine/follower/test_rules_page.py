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


class EngineRules(EngineWorld):
    """The engine, with the last of what may be corrected."""

    def __init__(self, part_rows: int) -> None:
        super().__init__(part_rows=lambda: part_rows)
        self._traded: dict[str, ExecutionsReported] = {}
        self._filled = ("", 0, "")

    def trade(self, order: Order, quantity: int, price: int) -> BrokerTrade:
        report = self.broker_side.reported(order, ExecType.TRADE, quantity, price)
        assert not self.broker_side.report(report)
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
            self.clock.time,
            np.array([self.broker_side.next_execution()]),
            np.array([-1]),
            old.subscriptions,
            np.array([ExecType.TRADE_CORRECT if quantity else ExecType.TRADE_CANCEL]),
            np.array([quantity]),
            np.array([price]),
            np.array([0]),
            np.array([0]),
        )
        assert not self.broker_side.correct(report)

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
        decisions = super().fill(
            creator, symbol, side, quantity, price, age=age, order_quantity=order_quantity
        )
        self._filled = (symbol, side, self.creator_side.last_fill)
        return decisions

    def correct_last_fill(self, quantity: int, price: int) -> list[str]:
        symbol, side, name = self._filled
        refused, decisions = self.correct_fill(
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
    world.check()
