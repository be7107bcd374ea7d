"""Junk of one broker stops nobody, is accounted for, and moves no account of another broker."""

import pytest

from tests.faults.fuzz.running import fuzzed, undisturbed

MESSAGES = 60


@pytest.mark.parametrize("seed", range(12))
async def test_junk_of_one_broker_is_accounted_for_and_moves_nothing_of_another(seed: int) -> None:
    outcome = await fuzzed(seed, MESSAGES)
    assert outcome.honest == await undisturbed(MESSAGES)
    assert outcome.refused > 0
