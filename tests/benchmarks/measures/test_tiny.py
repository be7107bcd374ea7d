"""Every benchmark runs, tiny, on the real path, and reports what it promises."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from benchmarks.cli import BENCHMARKS
from benchmarks.harness.hops import STAGES
from benchmarks.harness.report import BenchReport, flat, read_report

pytestmark = pytest.mark.real

RUN_S_MAX = 180


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, BenchReport]]:
    out = tmp_path_factory.mktemp("bench")
    command = [sys.executable, "-m", "tests.benchmarks.measures.tiny_runs", str(out)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=RUN_S_MAX, check=False)
    assert found.returncode == 0, found.stderr[-4000:]
    assert "Started a local Ray" not in found.stderr, (
        "a baseline started a Ray of its own, open to the network"
    )
    yield {name: read_report(out / f"{name}.json") for name in BENCHMARKS}
    assert all((out / f"{name}.png").stat().st_size > 1000 for name in BENCHMARKS), (
        "a chart is missing"
    )


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_passes_its_audit_and_then_reports_figures(
    name: str, reports: dict[str, BenchReport]
) -> None:
    report = reports[name]
    assert report.audit["passed"] is True, report.audit
    assert report.bench == name
    assert report.runs
    assert flat(report.summary)
    assert report.summary.get("result_hash") or report.runs[0].get("result_hash")


def test_fanout_reaches_every_account_with_every_hop(reports: dict[str, BenchReport]) -> None:
    runs = reports["fanout"].runs
    assert {run["followers"] for run in runs} == {50, 200}
    for run in runs:
        assert run["orders_per_fill"] == run["followers"]
        assert run["fills_incomplete"] == 0
        assert 0 < run["first_intent_durable_ms"] <= run["last_intent_durable_ms"]
        assert (
            run["last_intent_durable_ms"]
            <= run["last_order_accepted_ms"]
            <= run["last_position_updated_ms"]
        )


def test_stages_share_out_the_whole_time(reports: dict[str, BenchReport]) -> None:
    for name in ("fanout", "latency", "sustained"):
        for run in reports[name].runs:
            assert set(run["stages"]) == set(STAGES)
            assert sum(run["stages"].values()) == pytest.approx(1.0, abs=0.01)


def test_three_runs_are_reported_each_with_its_processes(reports: dict[str, BenchReport]) -> None:
    runs = reports["latency"].runs
    assert len(runs) == 3
    for run in runs:
        assert {
            "client",
            "nats",
            "postgres",
            "broker-paper",
            "creator",
            "follower",
            "gateway",
        } <= set(run["processes"])
        assert all(
            spent["peak_bytes"] >= spent["resident_bytes"] > 0
            for spent in run["processes"].values()
        )


def test_memory_is_reported_with_processes_stages_and_the_loading_of_every_step(
    reports: dict[str, BenchReport],
) -> None:
    report = reports["memory"]
    assert report.loading["subscriptions"] == report.runs[-1]["subscriptions"] == 60
    for run in report.runs:
        assert run["processes"]["follower"]["cpu_s"] >= 0
        assert sum(run["stages"].values()) == pytest.approx(1.0, abs=0.01)


def test_the_baselines_stand_beside_fanout(reports: dict[str, BenchReport]) -> None:
    summary = reports["fanout"].summary
    for name in ("ray_actors", "usual_service", "usual_service_synced", "plain_objects"):
        assert summary["baselines"][name]["orders_per_s"] > 0
    assert all(ratio > 0 for ratio in summary["ratios"].values())


def test_a_killed_follower_actor_accepts_again_and_catches_up(
    reports: dict[str, BenchReport],
) -> None:
    for run in reports["recovery"].runs:
        assert run["accepting_s"] > 0
        # The killed one's share of the CPU counts.
        assert run["processes"]["follower"]["processes"] == 3
        assert run["fills_incomplete"] == 0
