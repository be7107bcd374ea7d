"""`memory`: resident bytes per subscription that holds five instruments.

    empty cluster -> load -> every creator buys 5 instruments -> settled -> read resident sizes
                     ^                                                            |
                     +----------------------- the next step ----------------------+

Resident is the kernel's RSS of the engine's hosts (creator, follower, gateway), less what the same
hosts had while empty. It includes ids, indexes, Python, and memory that was freed and kept. The
slope leaves the empty size out altogether. CPU counts from empty. Stages are those of the last
instrument bought.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec

from benchmarks.harness.benchmark import Benchmark, default_config, joined_loading, result_hash
from benchmarks.harness.charts import draw_bars, draw_lines, new_figure, save
from benchmarks.harness.fills import Plan
from benchmarks.harness.hops import FillHops
from benchmarks.harness.population import Group
from benchmarks.harness.processes import Usage, peak, resident, spent
from benchmarks.harness.report import BenchReport, Goal, Measured
from benchmarks.harness.session import BenchSession
from benchmarks.harness.settings import Count, Seed, expect_growing

ENGINE = ("creator", "follower", "gateway")
GOALS = (
    Goal(figure="bytes_per_subscription", at_most=400),
    Goal(figure="slope_bytes_per_subscription", at_most=400),
)
FULL_SUBSCRIPTIONS = 1_000_000


class Settings(msgspec.Struct, frozen=True):
    """Settings of memory."""

    subscriptions: Annotated[tuple[Count, ...], msgspec.Meta(min_length=1)] = (100_000, 1_000_000)
    """Steps, growing; each adds creators with `followers` accounts."""
    followers: Count = 10_000
    instruments: Count = 5
    seed: Seed = 1

    def __post_init__(self) -> None:
        expect_growing(self.subscriptions)


SIZES = {
    "tiny": Settings(subscriptions=(20, 60), followers=20),
    "small": Settings(subscriptions=(20_000, 100_000), followers=2_000),
    "full": Settings(),
}


async def measure(session: BenchSession, settings: Settings) -> Measured:
    """Grow step by step, reading sizes at each."""
    empty = session.usage()
    runs: list[dict[str, Any]] = []
    hops: list[FillHops] = []
    loadings: list[dict[str, Any]] = []
    loaded = 0
    for number, total in enumerate(settings.subscriptions, 1):
        group = Group(
            f"mem{number}", max(1, (total - loaded) // settings.followers), settings.followers
        )
        loadings.append(await session.load([group], seed=settings.seed))
        loaded += group.subscriptions
        plans = _purchases(group, settings)
        count = group.creators * settings.instruments
        with session.reporter.step(
            f"memory: {loaded:,} subscriptions buy {settings.instruments} instruments", count
        ) as step:
            for _ in range(settings.instruments):
                hops.append((await session.one_by_one(plans, group.creators)).hops)
                step.advance(group.creators)
        runs.append({**_figures(loaded, empty, session.usage()), "stages": hops[-1].shares()})
    summary = {
        **runs[-1],
        "slope_bytes_per_subscription": _slope(runs),
        "result_hash": result_hash(hops),
    }
    goals = GOALS if settings.subscriptions[-1] >= FULL_SUBSCRIPTIONS else ()
    return Measured(runs=runs, summary=summary, loading=joined_loading(loadings), goals=goals)


def _purchases(group: Group, settings: Settings) -> Iterator[Plan]:
    for instrument in range(settings.instruments):
        for number in range(group.creators):
            creator_id, symbol = group.creator_id(number), f"SYM{instrument}"
            yield Plan(
                creator_id, f"mem{settings.seed}-{symbol}-{creator_id}", symbol, "buy", "100000"
            )


def _figures(subscriptions: int, empty: Usage, now: Usage) -> dict[str, Any]:
    before, after = resident(empty), resident(now)
    grown = {role: size - before.get(role, 0) for role, size in after.items()}
    engine = sum(grown.get(role, 0) for role in ENGINE)
    return {
        "subscriptions": subscriptions,
        "bytes_per_subscription": engine / subscriptions,
        "follower_bytes_per_subscription": grown.get("follower", 0) / subscriptions,
        "engine_resident_bytes": sum(after.get(role, 0) for role in ENGINE),
        "grown_bytes": grown,
        "resident_bytes": after,
        "peak_bytes": peak(now),
        "processes": spent(empty, now),
    }


def _slope(runs: list[dict[str, Any]]) -> float:
    first, last = runs[0], runs[-1]
    added = last["subscriptions"] - first["subscriptions"]
    return (
        (last["engine_resident_bytes"] - first["engine_resident_bytes"]) / added if added else 0.0
    )


def draw(report: BenchReport, path: Path) -> None:
    """Draw the resident size over subscriptions, and which processes hold it."""
    figure, axes = new_figure(2, "memory: resident, subscriptions of 5 instruments")
    lines = {
        role: [
            (float(run["subscriptions"]), run["resident_bytes"].get(role, 0) / 1e6)
            for run in report.runs
        ]
        for role in (*ENGINE, "broker-paper", "nats")
    }
    draw_lines(axes[0], lines, "resident by role", ("subscriptions", "MB"), is_log=False)
    figures = {
        name: report.summary[name]
        for name in (
            "bytes_per_subscription",
            "follower_bytes_per_subscription",
            "slope_bytes_per_subscription",
        )
    }
    draw_bars(
        axes[1],
        {name.replace("_", " "): value for name, value in figures.items()},
        "bytes per subscription",
        "bytes",
    )
    save(figure, path)


BENCHMARK = Benchmark("memory", SIZES, measure, draw, default_config)
