"""Whatever a broker answers to order blocks, its gateway goes on."""

import asyncio
from pathlib import Path

import pytest

from actors.settings import OrderIds
from tests.faults.adversarial.unreliable import SkippingLoop
from tests.faults.fuzz.answered import Answered, answered


def run(seed: int, order_ids: OrderIds, directory: Path, junk: str) -> Answered:
    """Run on a loop in which pauses cost no time."""
    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        return runner.run(answered(seed, order_ids, directory, junk=junk))


@pytest.mark.parametrize("order_ids", [OrderIds.REFUSED, OrderIds.LOOKED_UP, OrderIds.UNCHECKED])
@pytest.mark.parametrize("seed", range(6))
def test_no_answer_of_a_broker_crashes_its_gateway(
    seed: int, order_ids: OrderIds, tmp_path: Path
) -> None:
    outcome = run(seed, order_ids, tmp_path, "lies")
    assert outcome.junk_count
    assert outcome.owners == 1


@pytest.mark.parametrize("seed", range(6))
def test_p9_what_is_no_answer_is_asked_again_and_changes_nothing(seed: int, tmp_path: Path) -> None:
    outcome = run(seed, OrderIds.REFUSED, tmp_path / "noise", "noise")
    twin = run(seed, OrderIds.REFUSED, tmp_path / "twin", "")
    assert outcome.junk_count
    assert outcome.owners == 1
    assert outcome.holdings == twin.holdings
    assert outcome.report is not None
    assert outcome.report.passed, "\n".join(outcome.report.lines())
