"""The auditor against examples worked out by hand."""

import pytest

from tests.reference.scenarios import SCENARIOS
from tests.reference.stage import Scenario
from tests.reference.world import ReferenceWorld


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_reference_agrees_with_the_example(scenario: Scenario) -> None:
    scenario(ReferenceWorld())
