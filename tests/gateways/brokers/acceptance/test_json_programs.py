"""The suite in JSON names what a wrong program does: the example's ledger, with a fault."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from msgspec.structs import replace

from gateways.brokers.acceptance.bench import Bench, SuiteOptions
from gateways.brokers.acceptance.program import PublishedMessage, Sent
from gateways.brokers.acceptance.rules.rule import RuleOutcome, lines_of, run_rules
from gateways.brokers.acceptance.rules.suite import rules_of

EXAMPLE = Path(__file__).parents[4] / "examples" / "json_broker.py"
QUICK = SuiteOptions(
    format="json", answer_s=0.15, lifetime_s=0.1, settle_s=0.15, start_s=1.0, kills=2
)
Change = Callable[[dict[str, Any]], object]


def example() -> ModuleType:
    """Load the example as a module of its own."""
    spec = importlib.util.spec_from_file_location("json_broker", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class LedgerProgram:
    """The example's ledger without NATS: it answers and publishes at once."""

    broker = "acme"
    can_restart = True

    def __init__(self, path: Path, *, asked: Change, answered: Change) -> None:
        self._module = example()
        self._path = path
        self._asked = asked
        self._answered = answered
        self._stored: list[PublishedMessage] = []
        self._is_held = False
        self._ledger: Any = self._module.Ledger(str(path))

    async def send(self, data: bytes) -> Sent:
        sent = Sent()
        if self._ledger is None:
            sent.fail()
            return sent
        answer = self._ledger.take(self._changed(data))
        self._ledger.commit()
        self._answered(answer)
        sent.answer(json.dumps(answer).encode())
        return sent

    def _changed(self, data: bytes) -> bytes:
        try:
            message = json.loads(data)
        except (ValueError, RecursionError):
            return data
        if isinstance(message, dict):
            self._asked(message)
        return json.dumps(message).encode()

    async def stored(self) -> list[PublishedMessage]:
        while self._ledger is not None and not self._is_held:
            shard, rows = self._ledger.unconfirmed()
            if not rows:
                break
            body = f"[{','.join(row[1] for row in rows)}]".encode()
            self._stored.append(PublishedMessage(f"executions.acme.{shard}", body))
            self._ledger.confirm(shard, rows[0][0], rows[-1][0], len(self._stored))
        return self._stored

    async def kill(self) -> None:
        if self._ledger is not None:
            self._ledger.db.close()
        self._ledger = None

    async def start(self) -> None:
        self._ledger = self._module.Ledger(str(self._path))

    async def hold(self) -> None:
        self._is_held = True

    async def release(self) -> None:
        self._is_held = False


def nothing(fields: dict[str, Any]) -> None:
    pass


def mends_orders(message: dict[str, Any]) -> None:
    """Take any side for a purchase."""
    for order in message.get("orders", ()):
        order["side"] = "buy"


def drops_wrong_orders(message: dict[str, Any]) -> None:
    """Leave out orders without a quantity instead of refusing the message."""
    message["orders"] = [each for each in message.get("orders", ()) if "order_qty" in each]


def needs_known_fields(message: dict[str, Any]) -> None:
    if "of_a_newer_version" in message:
        message["epoch"] = "unknown field"


def takes_few_accounts(message: dict[str, Any]) -> None:
    if len(message.get("accounts", ())) > 500:
        message["epoch"] = "too many"


def ignores_limits(message: dict[str, Any]) -> None:
    for order in message.get("orders", ()):
        order["ord_type"] = "market"
        order.pop("price", None)


def counts_in_floats(answer: dict[str, Any]) -> None:
    answer["accepted"] = float(answer["accepted"])


def says_no_code(answer: dict[str, Any]) -> None:
    del answer["code"]


def refuses_without_a_text(answer: dict[str, Any]) -> None:
    answer.pop("refusal", None)


def knows_strangers(answer: dict[str, Any]) -> None:
    if "known" in answer:
        answer["known"].append("00000000000000000000000000")


def leaves_known_out(answer: dict[str, Any]) -> None:
    if not answer.get("known"):
        answer.pop("known", None)


FAULTS: list[tuple[Change, Change, str, str, str]] = [
    (mends_orders, nothing, "refused", "json", "a field that cannot be"),
    (drops_wrong_orders, nothing, "refused", "json", "an order with a field missing"),
    (needs_known_fields, nothing, "refused", "json", "fields that are unknown are ignored"),
    (takes_few_accounts, nothing, "refused", "json", "1000 accounts and 1000 cancels"),
    (ignores_limits, nothing, "refused", "executions", "traded beyond its limit"),
    (nothing, counts_in_floats, "refused", "introduction", "Expected `int`, got `float`"),
    (nothing, says_no_code, "refused", "introduction", "missing required field `code`"),
    (nothing, refuses_without_a_text, "refused", "json", "expected a text with code 1"),
    (nothing, knows_strangers, "looked_up", "look-ups", "only order ids that were looked up"),
    (nothing, leaves_known_out, "looked_up", "look-ups", "order ids, found none"),
]


async def failures(program: LedgerProgram, options: SuiteOptions, *families: str) -> list[str]:
    rules = rules_of("json")
    chosen = [rule for rule in rules if not families or rule.family in families]
    try:
        verdicts = await run_rules(chosen, Bench(program, options), lambda verdict: None)
    finally:
        await program.kill()
    return ["\n".join(lines_of(each)) for each in verdicts if each.outcome is RuleOutcome.FAILED]


@pytest.mark.parametrize("order_ids", ["refused", "looked_up", "unchecked"])
async def test_the_examples_ledger_passes(tmp_path: Path, order_ids: str) -> None:
    program = LedgerProgram(tmp_path / "ledger.sqlite", asked=nothing, answered=nothing)
    options = replace(QUICK, order_ids=order_ids, answer_s=5.0)
    assert await failures(program, options) == []


@pytest.mark.parametrize(
    ("asked", "answered", "order_ids", "family", "text"),
    FAULTS,
    ids=[
        asked.__name__ if asked is not nothing else answered.__name__
        for asked, answered, *_ in FAULTS
    ],
)
async def test_a_wrong_program_fails_the_rule_that_it_breaks(
    tmp_path: Path, asked: Change, answered: Change, order_ids: str, family: str, text: str
) -> None:
    program = LedgerProgram(tmp_path / "ledger.sqlite", asked=asked, answered=answered)
    failed = await failures(program, replace(QUICK, order_ids=order_ids), family)
    assert any(text in each for each in failed), "\n".join(failed)


def test_the_example_imports_nothing_of_lockstep() -> None:
    text = EXAMPLE.read_text()
    rooms = ("engine", "actors", "gateways", "cluster", "benchmarks", "tests")
    assert not [room for room in rooms if f"from {room}" in text or f"import {room}" in text]
