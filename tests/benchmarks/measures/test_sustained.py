"""The figures of `sustained`."""

import pytest

from benchmarks.harness.hops import FillHops
from benchmarks.harness.session import MeasuredRun
from benchmarks.measures import sustained
from tests.benchmarks.harness.builders import published


@pytest.mark.parametrize(
    ("updated_s", "executions", "is_held"),
    [
        ([number / 100 + 0.05 for number in range(300)], 10, True),
        ([number / 100 * 1.3 for number in range(300)], 10, False),
        ([9.0] * 300, 10, False),
        ([number / 100 + 0.05 for number in range(300)], 9, False),
    ],
    ids=["steady", "falling behind", "all worked off at the end", "a tenth netted unsent"],
)
def test_a_rate_is_held_when_nearly_all_of_it_is_executed_in_its_time(
    updated_s: list[float], executions: int, is_held: bool
) -> None:
    fills = published(*(number * 10_000_000 for number in range(300)))
    hops = FillHops(fills)
    hops.orders[:], hops.executions[:] = 10, executions
    for fill, seconds in enumerate(updated_s):
        hops.see(fill, "updated", max(1, int(seconds * 1e9)))
    figures = sustained.sustained_figures(MeasuredRun(fills, hops, [], 3.0, {}), followers=10)
    assert figures["held"] is is_held
