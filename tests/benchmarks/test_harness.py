"""The harness's own arithmetic: settings, percentiles, comparison, and no figure without a passed
audit.
"""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.counters import Counters
from actors.shard.progress import HostHeartbeat, ShardProgress
from benchmarks.cli import run
from benchmarks.harness.benchmark import (
    joined,
    joined_audits,
    report_of,
    result_hash,
    run_benchmark,
    with_changes,
)
from benchmarks.harness.fills import Plan, Published, alternating
from benchmarks.harness.heard import Acknowledgements, TimedProgress, current_hosts, wait_hosts
from benchmarks.harness.histogram import medians, percentiles
from benchmarks.harness.hops import STAGES, FillHops
from benchmarks.harness.processes import expect_alive
from benchmarks.harness.progress import Reporter
from benchmarks.harness.report import (
    Goal,
    Measured,
    Report,
    compared,
    judged,
    read_report,
    write_report,
)
from benchmarks.harness.session import Run
from benchmarks.measures import fanout, latency, memory, recovery, sustained
from cluster.config.options import Config
from cluster.errors import ClusterError, UsageError
from cluster.processes.run_file import record_of
from gateways.nats.heard import Heard


def published(*intended_ns: int) -> list[Published]:
    return [
        Published(Plan("c", f"e{number}", "S", "buy", "1"), time_ns, time_ns, time_ns, number)
        for number, time_ns in enumerate(intended_ns)
    ]


def report(passed: bool, **summary: object) -> Report:
    measured = Measured(
        runs=[{"run": 1}], summary=dict(summary), goals=(Goal(figure="p50", at_most=5),)
    )
    settings = latency.SIZES["tiny"]
    return report_of(
        latency.BENCHMARK, settings, Config(), measured, {"passed": passed}, command="x", machine={}
    )


def test_a_failed_audit_leaves_no_figure() -> None:
    failed = report(False, p50=1.0)
    assert (failed.runs, failed.summary, failed.goals) == ([], {}, [])
    assert failed.audit == {"passed": False}
    assert report(True, p50=1.0).summary == {"p50": 1.0}


def test_goals_are_held_against_figures_by_path() -> None:
    goals = (
        Goal(figure="a.b", at_most=5),
        Goal(figure="a.c", at_least=5),
        Goal(figure="missing", at_most=1),
    )
    assert [goal.met for goal in judged(goals, {"a": {"b": 5, "c": 4.9}})] == [True, False, None]


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
def test_every_size_is_what_its_benchmark_may_be_told(module: Any) -> None:
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


def test_what_is_measured_while_a_server_ends_is_no_figure() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        record = record_of(process.pid, role="server", name="nats")
        assert record is not None
        expect_alive([record])
        process.kill()
        process.wait()
        with pytest.raises(ClusterError, match=rf"nats \(process {process.pid}\) ended"):
            expect_alive([record])


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
    figures = sustained.sustained_figures(Run(fills, hops, [], 3.0, {}), followers=10)
    assert figures["held"] is is_held


def test_what_nothing_passed_has_no_figure() -> None:
    hops = FillHops(published(0, 10))
    hops.orders[:] = (1, 1)
    hops.see(0, "updated", 5_000)
    assert hops.passed("updated").tolist() == [True, False]
    assert hops.to_last("updated").tolist() == [5_000]
    assert percentiles(hops.to_last("accepted").tolist()) == {"count": 0}
    goals = judged(latency.GOALS, {"to_last_accepted": percentiles([])})
    assert all(goal.met is None for goal in goals)


def test_percentiles_keep_three_digits_and_the_exact_maximum() -> None:
    found = percentiles([number * 1_000_000 for number in range(1, 1001)])
    assert found["count"] == 1000
    assert found["p50_ms"] == pytest.approx(500, rel=0.002)
    assert found["p99_ms"] == pytest.approx(990, rel=0.002)
    assert found["p99_9_ms"] <= found["max_ms"] == 1000.0
    assert percentiles([8_873_000])["p99_ms"] <= 8.873, "the histogram rounds up"


def test_medians_go_figure_by_figure() -> None:
    rows = [
        {"run": 1, "a": 1, "b": {"c": 9}},
        {"run": 2, "a": 3, "b": {"c": 5}},
        {"run": 3, "a": 2, "b": {"c": 7}},
    ]
    assert medians(rows) == {"a": 2, "b": {"c": 7}}


def test_reports_are_read_back_and_compared(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_report(report(True, p50=2.0, nested={"p99": 4.0}), path)
    before = read_report(path)
    after = msgspec.structs.replace(before, summary={"p50": 1.0, "nested": {"p99": 6.0}})
    assert compared(before, after) == [("p50", 2.0, 1.0, 0.5), ("nested.p99", 4.0, 6.0, 1.5)]


def test_compare_refuses_what_is_no_report_or_another_benchmark(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, other = tmp_path / "a.json", tmp_path / "b.json"
    write_report(report(True, p50=2.0), path)
    write_report(msgspec.structs.replace(report(True, p50=2.0), bench="other"), other)
    assert run(["compare", str(path), str(path)]) == 0
    assert run(["compare", str(path), str(tmp_path / "missing.json")]) == 2
    assert run(["compare", str(path), str(other)]) == 2
    assert "one benchmark" in capsys.readouterr().err


def test_an_unknown_size_or_setting_is_refused_before_anything_starts() -> None:
    assert run(["latency", "--size", "huge"]) == 2
    assert run(["latency", "--set", "unknown=1"]) == 2


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


def test_what_is_told_late_is_bounded_by_the_hop_behind_it() -> None:
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


def test_the_result_hash_does_not_depend_on_speed() -> None:
    slow, fast = FillHops(published(0, 10)), FillHops(published(5, 6))
    for hops in (slow, fast):
        hops.orders[:] = (3, 4)
    fast.see(0, "durable", 99)
    assert result_hash([slow]) == result_hash([fast])
    fast.orders[1] = 5
    assert result_hash([slow]) != result_hash([fast])


def test_a_frame_is_known_durable_from_the_first_head_that_covers_it() -> None:
    def head(number: int) -> ShardProgress:
        return ShardProgress("follower", 1, "x", "live", 1, number, number, 0, True, (), Counters())

    known = Acknowledgements(
        [TimedProgress(10, head(3)), TimedProgress(20, head(3)), TimedProgress(30, head(7))]
    )
    assert [known.time_ns("follower", 1, number) for number in (1, 3, 4, 7, 8)] == [
        10,
        10,
        30,
        30,
        None,
    ]
    assert known.time_ns("follower", 0, 1) is None


def test_fills_buy_and_sell_in_turn_for_each_creator() -> None:
    plans = alternating(["x", "y"], "p")
    sides = [(plan.creator_id, plan.side) for plan, _ in zip(plans, range(6), strict=False)]
    assert sides == [
        ("x", "buy"),
        ("y", "buy"),
        ("x", "sell"),
        ("y", "sell"),
        ("x", "buy"),
        ("y", "buy"),
    ]


def test_the_slower_shards_time_on_acknowledgements_counts_per_fill() -> None:
    def head(shard: int, wait_us: int, append_us: int) -> TimedProgress:
        counts = Counters(append_wait_us=wait_us, append_us=append_us)
        return TimedProgress(
            0, ShardProgress("follower", shard, "x", "live", 1, 1, 1, 0, True, (), counts)
        )

    heard = [head(0, 1_000, 5_000), head(1, 0, 0), head(0, 9_000, 25_000), head(1, 2_000, 30_000)]
    assert fanout.journal_waits_ms(heard, 2) == {"journal_wait_ms": 4.0, "journal_append_ms": 15.0}
    assert fanout.journal_waits_ms([], 2) == {"journal_wait_ms": 0.0, "journal_append_ms": 0.0}


def test_parts_on_clusters_of_their_own_are_one_report_whose_audit_is_all_of_theirs() -> None:
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


async def test_a_hosts_new_incarnation_takes_its_predecessors_place() -> None:
    heard = Heard()
    for name, shard in (("f-0-a", "0"), ("f-1-b", "1"), ("f-0-c", "0")):
        beat = HostHeartbeat(name, "follower", 7, {shard: "live"})
        heard.hear_host("", "", msgspec.json.encode(beat), None)
    assert set(current_hosts(heard)) == {"f-1-b", "f-0-c"}
    async with asyncio.timeout(1):
        await wait_hosts(heard, 2)
