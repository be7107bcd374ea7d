"""A benchmark: its settings, its empty start, its result hash, and several parts as one report."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness.benchmark import (
    joined,
    joined_audits,
    result_hash,
    run_benchmark,
    with_changes,
)
from benchmarks.harness.hops import FillHops
from benchmarks.harness.progress import Reporter
from benchmarks.harness.report import (
    Measured,
)
from benchmarks.measures import fanout, latency, memory, recovery, sustained
from cluster.errors import UsageError
from tests.benchmarks.harness.builders import published


def test_settings_are_changed_by_name_and_refused_otherwise() -> None:
    changed = with_changes(fanout.SIZES["tiny"], ["followers=10,20", "fills=3", "baselines=false"])
    assert (changed.followers, changed.fills, changed.baselines) == ((10, 20), 3, False)
    with pytest.raises(ValueError, match="expected one of"):
        with_changes(fanout.SIZES["tiny"], ["unknown=1"])
    with pytest.raises(ValueError, match="--set"):
        with_changes(fanout.SIZES["tiny"], ["fills=many"])


@pytest.mark.parametrize(
    ("benchmark", "change"),
    [
        (fanout, "runs=0"),
        (fanout, "followers=20,20"),
        (fanout, "followers="),
        (latency, "seconds=-1"),
        (latency, "seconds=nan"),
        (latency, "seconds=0.001"),
        (latency, "follower_shards=3"),
        (sustained, "shapes=z"),
        (sustained, "shapes=a,a"),
        (memory, "subscriptions=60,20"),
        (recovery, "after_kill_s=0"),
    ],
)
def test_a_setting_that_measures_nothing_is_refused(benchmark: Any, change: str) -> None:
    with pytest.raises(ValueError, match=f"--set {change}"):
        with_changes(benchmark.SIZES["tiny"], [change])


@pytest.mark.parametrize("module", [fanout, latency, sustained, memory, recovery])
def test_every_size_passes_its_benchmarks_own_checks(module: Any) -> None:
    for settings in module.SIZES.values():
        assert with_changes(settings, []) == settings


async def test_a_benchmark_starts_from_nothing(tmp_path: Path) -> None:
    (tmp_path / "journal").touch()
    with pytest.raises(UsageError, match="expected an empty directory"):
        await run_benchmark(
            latency.BENCHMARK,
            latency.SIZES["tiny"],
            command="x",
            data=tmp_path,
            keep=False,
            reporter=Reporter(),
        )


def test_the_result_hash_does_not_depend_on_speed() -> None:
    slow, fast = FillHops(published(0, 10)), FillHops(published(5, 6))
    for hops in (slow, fast):
        hops.orders[:] = (3, 4)
    fast.see(0, "durable", 99)
    assert result_hash([slow]) == result_hash([fast])
    fast.orders[1] = 5
    assert result_hash([slow]) != result_hash([fast])


def test_parts_measured_on_separate_clusters_make_one_report_and_one_audit() -> None:
    loading = {"subscriptions": 10, "creators": 1, "seconds": 2.0, "subscriptions_per_s": 5.0}
    parts = [
        Measured(runs=[{"run": name}], summary={name: {"rate": number}}, loading=loading)
        for number, name in enumerate("ab")
    ]
    found = joined(parts)
    assert [run["run"] for run in found.runs] == ["a", "b"]
    assert found.summary == {"a": {"rate": 0}, "b": {"rate": 1}}
    assert found.loading == {
        "subscriptions": 20,
        "creators": 2,
        "seconds": 4.0,
        "subscriptions_per_s": 5.0,
    }
    passed, failed = (
        {"passed": True, "checks": [{"promise": "P1"}]},
        {"passed": False, "error": "killed"},
    )
    assert joined_audits({"a": passed, "b": passed})["passed"] is True
    both = joined_audits({"a": passed, "b": failed})
    assert (both["passed"], both["error"], both["checks"]) == (False, "killed", [{"promise": "P1"}])
    assert joined_audits({"": failed}) == failed
