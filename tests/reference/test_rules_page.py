"""RULES.md is true: the auditor decides every example as the page says, and every rule has one."""

import re
from pathlib import Path

import pytest

from tests.reference.corrections import Fill, correct, correct_fill
from tests.reference.rules_page import PAGE, BrokerTrade, Example, examples, headings, play
from tests.reference.values import TRADE, Decision, Order
from tests.reference.world import ReferenceWorld

TEXT = PAGE.read_text()
EXAMPLES = examples(TEXT)


class ReferenceRules(ReferenceWorld):
    """The auditor, with what it knows of corrections."""

    def __init__(self) -> None:
        super().__init__()
        self._executions = 0
        self._fills: dict[tuple[str, str], Fill] = {}

    def trade(self, order: Order, quantity: int, price: int) -> BrokerTrade:
        name = self._next_name()
        self.book.execution(order.key, TRADE, quantity=quantity, price=price, exec_id=name)
        return BrokerTrade(order, name)

    def correct_trade(self, trade: BrokerTrade, quantity: int, price: int) -> None:
        refused = correct(
            self.book,
            trade.order.key,
            trade.name,
            exec_id=self._next_name(),
            quantity=quantity,
            price=price,
            is_cancel=not quantity,
        )
        assert not refused

    def _next_name(self) -> str:
        self._executions += 1
        return f"x-{self._executions}"

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
        self._fills[creator, str(len(self._fills))] = Fill(symbol, side, quantity, price)
        return super().fill(
            creator, symbol, side, quantity, price, age=age, order_quantity=order_quantity
        )

    def correct_last_fill(self, quantity: int, price: int) -> list[str]:
        last = len(self._fills) - 1
        refused, decisions = correct_fill(
            self.book,
            self._fills,
            "ann",
            str(last),
            exec_id=str(last + 1),
            quantity=quantity,
            price=price,
            is_cancel=not quantity,
        )
        assert not refused
        return [decision.reason or decision.outcome for decision in decisions]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.heading)
def test_reference_decides_as_the_rules_page_says(example: Example) -> None:
    play(example, ReferenceRules())


def test_every_rule_has_an_example_or_names_its_tests() -> None:
    told = {example.heading for example in EXAMPLES}
    sections = re.split(r"^### ", TEXT, flags=re.MULTILINE)[1:]
    for heading, section in zip(headings(TEXT), sections, strict=True):
        paths = re.findall(r"`(tests/[\w/]+\.py)`", section)
        assert heading in told or paths, f"{heading}: expected an example or its tests"
        for path in paths:
            assert (Path(PAGE).parent / path).exists(), f"{heading}: {path} does not exist"


def test_a_wrong_cell_of_the_rules_page_is_found() -> None:
    heading, rows = EXAMPLES[0]
    wrong = [*rows[:-1], {**rows[-1], "target": "12345"}]
    with pytest.raises(AssertionError, match="target"):
        play(Example(heading, wrong), ReferenceRules())
