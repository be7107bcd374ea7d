"""Rules, verdicts, and running one after the other."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from enum import Enum
from typing import NamedTuple

from gateways.brokers.acceptance.bench import Bench
from gateways.brokers.acceptance.broken import Broken, NotStated
from gateways.brokers.acceptance.rules.page import place_of

ALL_CLASSES = ("refused", "looked_up", "unchecked")


class Rule(NamedTuple):
    """One rule of the protocol. `check` raises `Broken` when the program breaks it, and `NotStated`
    when the rule is about something that a program need not state, and this one does not.
    """

    family: str
    text: str
    check: Callable[[Bench], Awaitable[None]]
    order_ids: tuple[str, ...] = ALL_CLASSES
    """The values of `brokers.<name>.order_ids` for which the rule holds."""
    needs_restart: bool = False


class RuleOutcome(Enum):
    """The outcome of one rule."""

    PASSED = "passed"
    FAILED = "FAILED"
    NOT_RUN = "not run"


class Verdict(NamedTuple):
    """The verdict on a rule. A failed one has what was expected and found; one that was not run has
    its reason in `found`.
    """

    rule: Rule
    outcome: RuleOutcome
    expected: str = ""
    found: str = ""


async def run_rules(
    rules: Sequence[Rule], bench: Bench, report: Callable[[Verdict], None]
) -> list[Verdict]:
    """Run rules in order; `report` is called after each. A program that does not answer any more is
    started again, where that is possible.
    """
    verdicts: list[Verdict] = []
    for rule in rules:
        verdict = await _run(rule, bench)
        report(verdict)
        verdicts.append(verdict)
    return verdicts


async def _run(rule: Rule, bench: Bench) -> Verdict:
    if bench.options.order_ids not in rule.order_ids:
        return Verdict(rule, RuleOutcome.NOT_RUN, found=f"order_ids is {bench.options.order_ids}")
    if rule.needs_restart and not bench.program.can_restart:
        return Verdict(rule, RuleOutcome.NOT_RUN, found="no --start command was given")
    if bench.is_lost:
        return Verdict(rule, RuleOutcome.NOT_RUN, found="the program does not answer any more")
    try:
        await bench.make_ready()
        await rule.check(bench)
    except Broken as broken:
        return Verdict(rule, RuleOutcome.FAILED, broken.expected, broken.found)
    except NotStated as missing:
        return Verdict(rule, RuleOutcome.NOT_RUN, found=str(missing))
    return Verdict(rule, RuleOutcome.PASSED)


def lines_of(verdict: Verdict) -> Iterator[str]:
    """Yield a verdict's lines for a terminal."""
    rule = verdict.rule
    reason = f"  ({verdict.found})" if verdict.outcome is RuleOutcome.NOT_RUN else ""
    yield f"{verdict.outcome.value:8} {rule.family:13} {rule.text}{reason}"
    if verdict.outcome is RuleOutcome.FAILED:
        yield f"{'':22} expected: {verdict.expected}"
        yield f"{'':22} found:    {verdict.found}"
        yield f"{'':22} see:      {place_of(rule.family)}"
