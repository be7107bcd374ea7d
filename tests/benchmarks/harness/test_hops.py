"""The times of a fill's hops, and the share of each stage."""

import pytest

from benchmarks.harness.histogram import percentiles
from benchmarks.harness.hops import STAGES, FillHops
from benchmarks.harness.report import (
    judged,
)
from benchmarks.measures import latency
from tests.benchmarks.harness.builders import published


def test_a_hop_that_no_fill_passed_has_no_figure() -> None:
    hops = FillHops(published(0, 10))
    hops.orders[:] = (1, 1)
    hops.see(0, "updated", 5_000)
    assert hops.passed("updated").tolist() == [True, False]
    assert hops.to_last("updated").tolist() == [5_000]
    assert percentiles(hops.to_last("accepted").tolist()) == {"count": 0}
    goals = judged(latency.GOALS, {"to_last_accepted": percentiles([])})
    assert all(goal.met is None for goal in goals)


def test_stages_are_shares_of_the_way_from_intended_to_updated() -> None:
    hops = FillHops(published(0))
    hops.orders[0] = 1
    for index, (_, hop) in enumerate(STAGES.values(), 1):
        hops.see(0, hop, index * 100)
    shares = hops.shares()
    assert list(shares) == list(STAGES)
    assert all(share == pytest.approx(1 / len(STAGES), abs=1e-3) for share in shares.values())


def test_a_stage_over_before_the_one_in_front_takes_no_time() -> None:
    hops = FillHops(published(0))
    hops.orders[0] = 1
    for hop, time_ns in zip(
        ("signaled", "sized", "durable", "sent", "accepted"), (10, 20, 50, 40, 60), strict=True
    ):
        hops.see(0, hop, time_ns)
    hops.see(0, "executed", 60)
    hops.see(0, "updated", 100)
    assert hops.shares()["sent"] == 0.0
    assert hops.shares()["applied"] == pytest.approx(0.4)


def test_a_time_reported_late_is_bounded_by_the_next_hop() -> None:
    hops = FillHops(published(0, 0))
    hops.orders[:] = (2, 2)
    hops.executions[:] = (2, 1)
    for fill in (0, 1):
        for hop, time_ns in (
            ("signaled", 30),
            ("sized", 20),
            ("durable", 60),
            ("sent", 40),
            ("sent", 50),
        ):
            hops.see(fill, hop, time_ns)
    hops.tighten()
    assert [int(hops.last[hop][0]) for hop in ("signaled", "durable")] == [20, 50]
    assert int(hops.first["durable"][0]) == 40
    assert [int(hops.last[hop][1]) for hop in ("signaled", "durable")] == [30, 60], (
        "an order of it never left"
    )
