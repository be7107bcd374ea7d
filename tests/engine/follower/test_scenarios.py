"""The engine against the auditor's hand-worked examples, through frames (P1, P2, P6, P7)."""

import pytest

from tests.engine.world.engine_world import EngineWorld
from tests.reference.scenarios import SCENARIOS
from tests.reference.stage import Scenario


@pytest.mark.parametrize("part_rows", [1, 2, 1000])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_engine_agrees_with_the_example(scenario: Scenario, part_rows: int) -> None:
    world = EngineWorld(part_rows=lambda: part_rows)
    scenario(world)
    world.check()
