"""The page that a failed rule sends its reader to says what the rule is about."""

import re

import pytest

from gateways.brokers.acceptance.formats import ALL_FORMATS
from gateways.brokers.acceptance.rules.page import PAGE, SECTIONS, place_of
from gateways.brokers.acceptance.rules.rule import Rule, RuleOutcome, Verdict, lines_of
from gateways.brokers.acceptance.rules.suite import rules_of
from tests.test_pages import ROOT, anchors


def test_every_family_of_rules_has_a_place_on_the_page() -> None:
    families = {rule.family for format in ALL_FORMATS for rule in rules_of(format)}
    assert families == set(SECTIONS)


@pytest.mark.parametrize("family", SECTIONS)
def test_the_place_of_a_family_exists(family: str) -> None:
    page = (ROOT / PAGE).read_text()
    heading, paragraph = SECTIONS[family]
    assert heading in anchors(page)
    section = re.split(r"^#+ ", page, flags=re.MULTILINE)
    found = [each for each in section if heading in anchors(f"# {each}")]
    assert all(f"**{paragraph}.**" in each for each in found if paragraph)


async def _check(bench: object) -> None:
    raise AssertionError("not run here")


def test_a_broken_rule_names_its_place() -> None:
    verdict = Verdict(Rule("look-ups", "a rule", _check), RuleOutcome.FAILED, "this", "that")
    lines = [line.strip() for line in lines_of(verdict)]
    assert lines[1:] == ["expected: this", "found:    that", f"see:      {place_of('look-ups')}"]
