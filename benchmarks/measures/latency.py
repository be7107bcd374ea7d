"""`latency`: many creators at once, in open loop.

    200 fills/s on a schedule, 200 creators in turn, 100 accounts each:
    20,000 orders/s through the whole path

Each fill is measured from the time at which it was meant to be published, so a stall counts for
every fill behind it. The bare skeleton runs beside it in the same run: the same publishes with
nothing between them (no Ray, no sizing, no state).
"""

from pathlib import Path
from typing import Any

import msgspec

from benchmarks.harness.benchmark import Benchmark, result_hash, sharded_config
from benchmarks.harness.charts import draw_percentiles, draw_stages, new_figure, save
from benchmarks.harness.fills import alternating
from benchmarks.harness.histogram import medians, percentiles
from benchmarks.harness.population import Group
from benchmarks.harness.report import BenchReport, Goal, Measured
from benchmarks.harness.session import BenchSession, MeasuredRun
from benchmarks.harness.settings import (
    Count,
    Rate,
    Seconds,
    SecondsOrNone,
    Seed,
    Shards,
    expect_fills,
)
from benchmarks.skeleton.running import run_skeleton

GOALS = (
    Goal(figure="to_last_accepted.p50_ms", at_most=15),
    Goal(figure="to_last_accepted.p99_ms", at_most=60),
    Goal(figure="to_last_updated.p99_ms", at_most=120),
    Goal(figure="ratio_to_skeleton.p50_accepted", at_most=2),
)

FULL_CREATORS = 200


class Settings(msgspec.Struct, frozen=True):
    """Settings of latency."""

    creators: Count = 200
    followers: Count = 100
    fills_per_s: Rate = 200.0
    seconds: Seconds = 60.0
    warm_up_s: SecondsOrNone = 3.0
    runs: Count = 3
    seed: Seed = 1
    follower_shards: Shards = 1
    """One is right for books of this size on two cores: each shard that a fill touches costs it
    three synced messages.
    """
    quiet_s_max: SecondsOrNone = 60.0
    """The longest time for the cluster to come to rest before anything is measured."""
    skeleton: bool = True
    skeleton_seconds: Seconds = 20.0

    def __post_init__(self) -> None:
        expect_fills(self.fills_per_s, self.seconds)


SIZES = {
    "tiny": Settings(
        creators=5,
        followers=4,
        fills_per_s=50,
        seconds=0.4,
        warm_up_s=0.2,
        skeleton_seconds=0.3,
        quiet_s_max=0,
    ),
    "small": Settings(seconds=10, skeleton_seconds=5),
    "full": Settings(),
}


async def measure(session: BenchSession, settings: Settings) -> Measured:
    """Load the creators, warm up, hold the rate; then the skeleton."""
    group = Group("lat", settings.creators, settings.followers)
    loading = await session.load([group], seed=settings.seed)
    await session.quiet(settings.quiet_s_max)
    plans = alternating(
        [group.creator_id(number) for number in range(group.creators)], f"lat{settings.seed}"
    )
    await session.on_schedule(plans, per_s=settings.fills_per_s, seconds=settings.warm_up_s)
    runs, all_hops = [], []
    with session.reporter.step(
        f"latency: {settings.runs} runs of {settings.seconds:g} s", settings.runs
    ) as step:
        for number in range(1, settings.runs + 1):
            run = await session.on_schedule(
                plans, per_s=settings.fills_per_s, seconds=settings.seconds
            )
            figures = {"run": number, **latency_figures(run)}
            all_hops.append(run.hops)
            if settings.skeleton:
                figures["skeleton"] = await run_skeleton(
                    session,
                    fills_per_s=settings.fills_per_s,
                    seconds=settings.skeleton_seconds,
                    followers=settings.followers,
                    shards=session.cluster.config.cluster.follower_shards,
                )
            runs.append(figures)
            step.advance()
    summary = {**medians(runs), "result_hash": result_hash(all_hops)}
    if settings.skeleton:
        summary["ratio_to_skeleton"] = {
            "p50_accepted": summary["to_last_accepted"]["p50_ms"]
            / max(summary["skeleton"]["to_accepted"]["p50_ms"], 1e-9),
            "p50_updated": summary["to_last_updated"]["p50_ms"]
            / max(summary["skeleton"]["to_updated"]["p50_ms"], 1e-9),
        }
    return Measured(
        runs=runs,
        summary=summary,
        loading=loading,
        goals=GOALS if settings.creators >= FULL_CREATORS else (),
    )


def latency_figures(run: MeasuredRun) -> dict[str, Any]:
    """Compute the figures of one stretch under load."""
    hops = run.hops
    return {
        "fills": len(run.published),
        "orders": int(hops.orders.sum()),
        "orders_per_s": float(hops.orders.sum() / run.seconds),
        "fills_incomplete": hops.missing(),
        "to_signaled": percentiles((hops.last["signaled"] - hops.intended).clip(min=0).tolist()),
        "to_last_durable": percentiles(hops.to_last("durable").tolist()),
        "to_last_accepted": percentiles(hops.to_last("accepted").tolist()),
        "to_last_updated": percentiles(hops.to_last("updated").tolist()),
        "publish_late": percentiles([fill.sent_ns - fill.intended_ns for fill in run.published]),
        "stages": hops.shares(),
        "processes": run.processes,
    }


def draw(report: BenchReport, path: Path) -> None:
    """Draw the percentiles beside the skeleton's, and the stages."""
    summary = report.summary
    figure, axes = new_figure(2, "latency from a fill's intended publish")
    curves = {
        "last intent durable": summary["to_last_durable"],
        "last order accepted": summary["to_last_accepted"],
        "last position updated": summary["to_last_updated"],
    }
    if "skeleton" in summary:
        curves["bare skeleton: accepted"] = summary["skeleton"]["to_accepted"]
        curves["bare skeleton: updated"] = summary["skeleton"]["to_updated"]
    draw_percentiles(axes[0], curves, "percentiles")
    draw_stages(axes[1], {f"run {run['run']}": run["stages"] for run in report.runs}, "stages")
    save(figure, path)


BENCHMARK = Benchmark("latency", SIZES, measure, draw, sharded_config)
