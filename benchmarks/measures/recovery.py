"""`recovery`: a follower actor is killed under load, and snapshots are taken under load.

    200 fills/s, open loop, over all creators
      +-- kill -9 of a follower actor ... accepting again ... caught up
      +-- snapshots as configured: p99 of fills that met one, and of those that did not

Accepting again is the first progress of the killed actor's shard that says live under a higher
epoch. Caught up is the first fill published after the kill whose last position was updated after
that, within the lag allowed.
"""

import asyncio
import time
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import numpy as np

from benchmarks.harness.benchmark import Benchmark, default_config, result_hash
from benchmarks.harness.charts import draw_bars, draw_lines, new_figure, save
from benchmarks.harness.fills import alternating
from benchmarks.harness.heard import Acknowledgements, TimedProgress
from benchmarks.harness.histogram import medians, percentiles
from benchmarks.harness.hops import NEVER, FillHops
from benchmarks.harness.population import Group
from benchmarks.harness.report import BenchReport, Goal, Measured
from benchmarks.harness.session import BenchSession, MeasuredRun
from benchmarks.harness.settings import Count, Rate, Seconds, Seed, expect_fills
from engine.journal.frame import ShardKind

CAUGHT_UP_LAG_S = 0.25
SNAPSHOT_POLL_S = 0.05
GOALS = (
    Goal(figure="accepting_s_max", at_most=5),
    Goal(figure="caught_up_s_max", at_most=10),
    Goal(figure="snapshots.p99_ratio", at_most=2),
)
FULL_SUBSCRIPTIONS = 1_000_000


class Settings(msgspec.Struct, frozen=True):
    """Settings of recovery. A follower actor holds half of `creators` times `followers`
    subscriptions.
    """

    creators: Count = 10_000
    followers: Count = 100
    fills_per_s: Rate = 200.0
    steady_s: Seconds = 60.0
    before_kill_s: Seconds = 10.0
    after_kill_s: Seconds = 20.0
    runs: Count = 3
    seed: Seed = 1

    def __post_init__(self) -> None:
        for seconds in (self.steady_s, self.before_kill_s, self.after_kill_s):
            expect_fills(self.fills_per_s, seconds)


SIZES = {
    "tiny": Settings(
        creators=6,
        followers=4,
        fills_per_s=40,
        steady_s=0.5,
        before_kill_s=0.3,
        after_kill_s=0.5,
        runs=1,
    ),
    "small": Settings(creators=1_000, steady_s=20, before_kill_s=5, after_kill_s=15),
    "full": Settings(),
}


async def measure(session: BenchSession, settings: Settings) -> Measured:
    """Load, watch snapshots under steady load, then kill follower actors in turn."""
    group = Group("rec", settings.creators, settings.followers)
    loading = await session.load([group], seed=settings.seed)
    plans = alternating(
        [group.creator_id(number) for number in range(group.creators)], f"rec{settings.seed}"
    )
    await session.on_schedule(
        plans, per_s=settings.fills_per_s, seconds=min(5.0, settings.steady_s)
    )
    watch = _SnapshotWatch(session.cluster.postgres_url)
    with session.reporter.step("recovery: latency while snapshots are taken", 1):
        async with watch:
            steady = await session.on_schedule(
                plans, per_s=settings.fills_per_s, seconds=settings.steady_s
            )
    snapshots = _snapshot_figures(steady, watch.seen)
    runs, hops = [], [steady.hops]
    with session.reporter.step("recovery: kill -9", settings.runs) as step:
        for number in range(1, settings.runs + 1):
            shard = (number - 1) % session.cluster.config.cluster.follower_shards
            killing = asyncio.create_task(_kill(session, shard, settings.before_kill_s))
            seconds = settings.before_kill_s + settings.after_kill_s
            run = await session.on_schedule(plans, per_s=settings.fills_per_s, seconds=seconds)
            runs.append({"run": number, **_kill_figures(run, shard, await killing)})
            hops.append(run.hops)
            step.advance()
    summary = {
        **medians([{**run, "lag": {}, "shard": ""} for run in runs]),
        "accepting_s_max": max(run["accepting_s"] for run in runs),
        "caught_up_s_max": max(run["caught_up_s"] for run in runs),
        "snapshots": snapshots,
        "result_hash": result_hash(hops),
    }
    goals = GOALS if group.subscriptions >= FULL_SUBSCRIPTIONS else ()
    return Measured(runs=runs, summary=summary, loading=loading, goals=goals)


async def _kill(session: BenchSession, shard: int, after_s: float) -> int:
    """Kill the process that hosts a follower shard. Returns: the time, ns."""
    await asyncio.sleep(after_s)
    return session.kill_host("follower", shard)


def _kill_figures(run: MeasuredRun, shard: int, killed_ns: int) -> dict[str, Any]:
    hops = run.hops
    lag = hops.last["updated"] - hops.intended
    chosen = hops.passed("updated")
    after = chosen & (hops.intended > killed_ns)
    live_ns = _live_again_ns(run.heard, shard, killed_ns)
    caught_up = hops.last["updated"][
        after & (lag <= CAUGHT_UP_LAG_S * 1e9) & (hops.last["updated"] >= (live_ns or NEVER))
    ]
    # What was not seen was over when everything was, at the latest.
    drained_ns = int(hops.last["updated"].max())
    return {
        "shard": shard,
        "accepting_s": ((live_ns or drained_ns) - killed_ns) / 1e9,
        "caught_up_s": ((int(caught_up.min()) if len(caught_up) else drained_ns) - killed_ns) / 1e9,
        "longest_lag_s": float(lag[chosen].max()) / 1e9 if chosen.any() else 0.0,
        "fills": len(run.published),
        "fills_incomplete": hops.missing(),
        "before_kill": percentiles(lag[chosen & (hops.last["updated"] < killed_ns)].tolist()),
        "lag": _lag_curve(hops, killed_ns),
        "stages": hops.shares(),
        "processes": run.processes,
    }


def _live_again_ns(heard: list[TimedProgress], shard: int, killed_ns: int) -> int | None:
    epoch = max(
        (
            progress.epoch
            for time_ns, progress in heard
            if progress.kind == "follower" and progress.shard == shard and time_ns < killed_ns
        ),
        default=0,
    )
    for time_ns, progress in heard:
        if (
            progress.kind == "follower"
            and progress.shard == shard
            and progress.epoch > epoch
            and progress.phase == "live"
        ):
            return time_ns
    return None


def _lag_curve(hops: FillHops, killed_ns: int) -> dict[str, float]:
    """Return the longest lag of each tenth of a second of publishing, by seconds from the kill."""
    curve: dict[str, float] = {}
    for intended, updated in zip(
        hops.intended.tolist(), hops.last["updated"].tolist(), strict=True
    ):
        key = f"{(intended - killed_ns) // 100_000_000 / 10:.1f}"
        curve[key] = max(curve.get(key, 0.0), (updated - intended) / 1e9)
    return curve


class _SnapshotWatch:
    """Notes the time at which each snapshot became visible in Postgres."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._task: asyncio.Task[None] | None = None
        self.seen: dict[tuple[int, int, int], int] = {}

    async def __aenter__(self) -> "_SnapshotWatch":
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        connection: Any = await asyncpg.connect(self._dsn)
        try:
            while True:
                for kind, shard, number in await connection.fetch(
                    "SELECT kind, shard, number FROM lockstep_snapshot"
                ):
                    self.seen.setdefault((kind, shard, number), time.time_ns())
                await asyncio.sleep(SNAPSHOT_POLL_S)
        finally:
            await connection.close()


def _snapshot_figures(run: MeasuredRun, seen: dict[tuple[int, int, int], int]) -> dict[str, Any]:
    """Split the fills by whether a follower's snapshot was under way with them: from its frame
    until Postgres had it.
    """
    hops = run.hops
    acknowledgements = Acknowledgements(run.heard)
    met = np.zeros(len(hops.intended), np.bool_)
    lasted: list[float] = []
    for (kind, shard, number), ended_ns in seen.items():
        began_ns = (
            acknowledgements.time_ns("follower", shard, number)
            if kind == ShardKind.FOLLOWER
            else None
        )
        if began_ns is not None and hops.intended[0] < began_ns < ended_ns:
            met |= (hops.intended <= ended_ns) & (hops.last["updated"] >= began_ns)
            lasted.append((ended_ns - began_ns) / 1e9)
    lag = hops.last["updated"] - hops.intended
    chosen = hops.passed("updated")
    during, without = (percentiles(lag[chosen & which].tolist()) for which in (met, ~met))
    both = during["count"] and without["count"]
    return {
        "taken": len(lasted),
        "seconds_each": float(np.median(lasted)) if lasted else 0.0,
        "during": during,
        "without": without,
        **({"p99_ratio": during["p99_ms"] / without["p99_ms"]} if both else {}),
        "stages": hops.shares(),
        "processes": run.processes,
    }


def draw(report: BenchReport, path: Path) -> None:
    """Draw the lag around each kill, and latency with and without snapshots."""
    figure, axes = new_figure(2, "recovery: kill -9 of a follower actor under load")
    lines = {
        f"run {run['run']}": sorted((float(second), lag) for second, lag in run["lag"].items())
        for run in report.runs
    }
    draw_lines(
        axes[0],
        lines,
        "lag of fills",
        ("published, s from the kill", "s until last position updated"),
        is_log=False,
    )
    snapshots = report.summary["snapshots"]
    bars = {
        f"{which}, {name}": snapshots[which][f"{name}_ms"]
        for which in ("without", "during")
        for name in ("p50", "p99")
        if snapshots[which]["count"]
    }
    draw_bars(axes[1], bars, "latency without and during snapshots", "ms")
    save(figure, path)


BENCHMARK = Benchmark("recovery", SIZES, measure, draw, default_config)
