"""`fanout`: one creator's fill to N accounts, one fill at a time.

    client --fill--> NATS --> creator shard --frame--> follower shards --frames--> gateway
       |                                                    ^                        | blocks
       +-- the clock starts here (publish)                  +----- executions ---- paper broker

Figures count from the fill's publish; each is the p50 of a run's fills, which buy and sell in turn
so that state moves: first and last intent durable, first and last order accepted, last position
updated. The baselines run in the same run, while the cluster is idle.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np

from benchmarks.baselines.comparison import Sizes, compare_with_baselines
from benchmarks.harness.benchmark import Benchmark, default_config, result_hash
from benchmarks.harness.charts import draw_bars, draw_lines, draw_stages, new_figure, save
from benchmarks.harness.fills import Plan, alternating
from benchmarks.harness.heard import TimedProgress
from benchmarks.harness.histogram import medians
from benchmarks.harness.hops import FillHops
from benchmarks.harness.population import Group
from benchmarks.harness.report import BenchReport, Goal, Measured
from benchmarks.harness.session import BenchSession, MeasuredRun
from benchmarks.harness.settings import Count, CountOrNone, Seed, expect_growing

FIGURES = {
    "first_intent_durable_ms": ("first", "durable"),
    "last_intent_durable_ms": ("last", "durable"),
    "first_order_accepted_ms": ("first", "accepted"),
    "last_order_accepted_ms": ("last", "accepted"),
    "last_position_updated_ms": ("last", "updated"),
}
GOALS = (
    Goal(figure="by_followers.1000000.last_intent_durable_ms", at_most=500),
    Goal(figure="by_followers.1000000.last_order_accepted_ms", at_most=1000),
    Goal(figure="by_followers.1000000.last_position_updated_ms", at_most=2000),
    Goal(figure="cost_ratio.time_1000000_to_100000", at_most=12),
    Goal(figure="ratios.intents_to_usual_service", at_least=100),
    Goal(figure="ratios.intents_to_plain_objects", at_least=1),
    Goal(figure="ratios.accepted_to_usual_service", at_least=60),
    Goal(figure="ratios.accepted_to_ray_actors", at_least=1000),
    Goal(figure="ratios.journal_wait_to_raw_stream", at_most=2.5),
)


FULL_FOLLOWERS = 1_000_000


class Settings(Sizes, frozen=True):
    """Settings of fanout."""

    followers: Annotated[tuple[Count, ...], msgspec.Meta(min_length=1)] = (
        1_000,
        10_000,
        100_000,
        1_000_000,
    )
    fills: Count = 5
    warm_up: CountOrNone = 2
    runs: Count = 3
    seed: Seed = 1
    baselines: bool = True

    def __post_init__(self) -> None:
        expect_growing(self.followers)


SIZES = {
    "tiny": Settings(
        followers=(50, 200),
        warm_up=1,
        baselines=True,
        ray_actors=2,
        service_orders=300,
        plain_objects=1_000,
    ),
    "small": Settings(followers=(1_000, 10_000, 100_000), ray_actors=8, service_orders=20_000),
    "full": Settings(),
}


async def measure(session: BenchSession, settings: Settings) -> Measured:
    """Load one creator for each N, warm up, publish fills one by one."""
    groups = [Group(f"fan{followers}", 1, followers) for followers in settings.followers]
    loading = await session.load(groups, seed=settings.seed)
    plans: dict[int, Iterator[Plan]] = {
        group.followers: alternating([group.creator_id(0)], f"fan{settings.seed}")
        for group in groups
    }
    for group in groups:
        await session.one_by_one(plans[group.followers], settings.warm_up)
    runs, all_hops, last = [], [], None
    with session.reporter.step("fanout", settings.runs * len(groups)) as step:
        for number in range(1, settings.runs + 1):
            for group in groups:
                last = await session.one_by_one(plans[group.followers], settings.fills)
                runs.append(figures_of(last, number, group.followers))
                all_hops.append(last.hops)
                step.advance()
    assert last is not None
    summary = _summary(runs, result_hash(all_hops))
    if settings.baselines:
        largest = str(settings.followers[-1])
        compared = await compare_with_baselines(
            session, settings, last.hops, summary["by_followers"][largest]
        )
        summary = {**summary, **compared}
    return Measured(
        runs=runs,
        summary=summary,
        loading=loading,
        goals=GOALS if FULL_FOLLOWERS in settings.followers else (),
    )


def figures_of(run: MeasuredRun, number: int, followers: int) -> dict[str, Any]:
    """Compute one run's figures for one N."""
    hops = run.hops
    durations = {
        name: (hops.to_first(hop) if which == "first" else hops.to_last(hop))
        for name, (which, hop) in FIGURES.items()
    }
    figures = {name: float(np.median(values)) / 1e6 for name, values in durations.items()}
    fills = len(run.published)
    return {
        "run": number,
        "followers": followers,
        **figures,
        "slowest_position_updated_ms": float(durations["last_position_updated_ms"].max()) / 1e6,
        "durable_intents_per_s": _rate(hops, figures["last_intent_durable_ms"]),
        "accepted_orders_per_s": _rate(hops, figures["last_order_accepted_ms"]),
        "orders_per_fill": float(hops.orders.mean()),
        "fills_incomplete": hops.missing(),
        "journal_bytes_per_order": sum(frame.bytes for frame in hops.frames)
        / max(1, int(hops.orders.sum())),
        **journal_waits_ms(run.heard, fills),
        "stages": hops.shares(),
        "cpu_s_per_fill": {
            role: round(spent["cpu_s"] / fills, 5) for role, spent in run.processes.items()
        },
        "processes": run.processes,
    }


def _rate(hops: FillHops, milliseconds: float) -> float:
    return float(np.median(hops.orders)) / milliseconds * 1e3


def journal_waits_ms(heard: list[TimedProgress], fills: int) -> dict[str, float]:
    """Return the time that the slower follower shard waited for acknowledgements for one fill, as
    the shards count it.

    `wait`: a frame that was ready waited for the one before it. `append`: from handing a frame over
    until its acknowledgement was taken up; the shard may decide the next part meanwhile.
    """
    spent: dict[int, list[tuple[int, int]]] = {}
    for _, progress in heard:
        wait_us, append_us = progress.counts.append_wait_us, progress.counts.append_us
        if progress.kind == "follower" and wait_us is not None and append_us is not None:
            spent.setdefault(progress.shard, []).append((wait_us, append_us))
    most = [
        max(
            (
                last[which] - first[which]
                for first, last in ((rows[0], rows[-1]) for rows in spent.values())
            ),
            default=0,
        )
        for which in (0, 1)
    ]
    return {"journal_wait_ms": most[0] / 1e3 / fills, "journal_append_ms": most[1] / 1e3 / fills}


def _summary(runs: list[dict[str, Any]], digest: str) -> dict[str, Any]:
    sizes = sorted({run["followers"] for run in runs})
    by_followers = {
        str(size): medians([run for run in runs if run["followers"] == size]) for size in sizes
    }
    cost: dict[str, float] = {}
    for small, large in pairwise(sizes):
        first, second = by_followers[str(small)], by_followers[str(large)]
        cost[f"time_{large}_to_{small}"] = second["last_position_updated_ms"] / max(
            first["last_position_updated_ms"], 1e-9
        )
        cost[f"cpu_{large}_to_{small}"] = sum(second["cpu_s_per_fill"].values()) / max(
            sum(first["cpu_s_per_fill"].values()), 1e-9
        )
    return {"by_followers": by_followers, "cost_ratio": cost, "result_hash": digest}


def draw(report: BenchReport, path: Path) -> None:
    """Draw scaling, stages, and the baselines if they ran."""
    by_followers = report.summary["by_followers"]
    ratios = report.summary.get("baselines")
    figure, axes = new_figure(3 if ratios else 2, "fanout: one fill to N accounts")
    lines = {
        name.removesuffix("_ms").replace("_", " "): [
            (float(size), figures[name]) for size, figures in by_followers.items()
        ]
        for name in FIGURES
    }
    draw_lines(axes[0], lines, "time from publish, p50", ("followers", "ms"), is_log=True)
    draw_stages(
        axes[1],
        {f"{int(size):,}": figures["stages"] for size, figures in by_followers.items()},
        "stages",
    )
    if ratios:
        rates = {
            name: figures["orders_per_s"]
            for name, figures in ratios.items()
            if "orders_per_s" in figures
        }
        largest = by_followers[max(by_followers, key=int)]
        rates |= {
            "lockstep, durable": largest["durable_intents_per_s"],
            "lockstep, accepted": largest["accepted_orders_per_s"],
        }
        draw_bars(axes[2], rates, "orders per second", "orders/s", is_log=True)
    save(figure, path)


BENCHMARK = Benchmark("fanout", SIZES, measure, draw, default_config)
