"""`sustained`: the highest rate of executed copy orders that is held without a growing backlog.

    (a) 10 creators x 100,000 accounts    (b) 1,000 x 1,000    (c) 10,000 x 100

Fills are published in open loop at a fixed rate. The lag of a fill is the time from its intended
time to its last position updated. A rate is held when both conditions are met:

- the lag of the last third of the fills exceeds that of the middle third by no more than 2 % of
  the time between them and a tenth of a second;
- 98 % of what was offered is executed within 2 % more time and half a second. A backlog that is
  worked off in one go does not make the lag grow, so the first condition would miss it.

The search raises the rate by a quarter while short trials hold, up to a quarter above the wanted
rate. It lowers the rate while they do not hold. The best rate is then held for the whole time. Each
trial is a run and is reported.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import numpy as np

from benchmarks.harness.benchmark import Benchmark, result_hash, sharded_config
from benchmarks.harness.charts import draw_bars, draw_percentiles, new_figure, save
from benchmarks.harness.fills import alternating
from benchmarks.harness.histogram import percentiles
from benchmarks.harness.population import Group
from benchmarks.harness.report import BenchReport, Goal, Measured
from benchmarks.harness.session import BenchSession, MeasuredRun
from benchmarks.harness.settings import Count, Seconds, Seed, Shards, Share

STEP = 1.25
TRIALS_MAX = 8
HOLDS_MAX = 4
ROUNDING = 1e-6
LOWER = 0.9
LAG_GROWTH_MAX = 0.02
"""The seconds by which the lag may grow per second. At this growth 98 % of the offered rate is
executed.
"""
LAG_SLACK_S = 0.1
DRAIN_SLACK_S = 0.5
"""The seconds of work that a steady pipeline may have under way when the last fill is published."""


class Shape(NamedTuple):
    """The number of creators and followers per creator, and the executed orders per second
    wanted of it.
    """

    creators: int
    followers: int
    orders_per_s_wanted: float


SHAPES = {
    "a": Shape(10, 100_000, 700_000),
    "b": Shape(1_000, 1_000, 400_000),
    "c": Shape(10_000, 100, 100_000),
}
GOALS = tuple(
    Goal(figure=f"{name}.executed_orders_per_s", at_least=shape.orders_per_s_wanted)
    for name, shape in SHAPES.items()
)


class Settings(msgspec.Struct, frozen=True):
    """Settings of sustained."""

    shapes: Annotated[tuple[Literal["a", "b", "c"], ...], msgspec.Meta(min_length=1)] = (
        "a",
        "b",
        "c",
    )
    scale: Share = 1.0
    """Share of each shape's creators and followers (at least one) that is loaded, and of the rate
    that is wanted: a fill has that many fewer orders, and fills cost too.
    """
    trial_s: Seconds = 5.0
    hold_s: Seconds = 60.0
    start_share: Share = 0.8
    """The rate at which the search begins, as a share of the wanted rate."""
    rate_max_share: Share = 1.25
    """The rate at which the search ends. All that is executed is audited at the end, which
    takes about 100 bytes of disk per order.
    """
    trials_max: Count = TRIALS_MAX
    holds: Count = 1
    """The number of times that the best rate is held. The lowest result counts."""
    seed: Seed = 1
    follower_shards: Shards = 1
    """One is right for books of this size on two cores: each shard that a fill touches costs it
    three synced messages.
    """

    def __post_init__(self) -> None:
        if len(set(self.shapes)) < len(self.shapes):
            raise ValueError(f"expected each shape once, found {', '.join(self.shapes)}")


SIZES = {
    "tiny": Settings(
        shapes=("c",), scale=0.01, trial_s=0.4, hold_s=0.6, start_share=0.05, trials_max=2
    ),
    "small": Settings(scale=0.1, trial_s=5, hold_s=10),
    "full": Settings(),
}


async def measure(session: BenchSession, settings: Settings) -> Measured:
    """Search and hold one shape, on a cluster of its own (`_parts`)."""
    name: str = settings.shapes[0]
    group = _group(name, settings.scale)
    loading = await session.load([group], seed=settings.seed)
    search = _Search(session, settings, name, group)
    summary = {name: await search.best(SHAPES[name].orders_per_s_wanted * settings.scale)}
    goals = GOALS if settings.scale == 1.0 else ()
    return Measured(runs=search.runs, summary=summary, loading=loading, goals=goals)


def _group(name: str, scale: float) -> Group:
    shape = SHAPES[name]
    return Group(
        f"sus{name}", max(1, round(shape.creators * scale)), max(1, round(shape.followers * scale))
    )


class _Search:
    def __init__(self, session: BenchSession, settings: Settings, name: str, group: Group) -> None:
        self._session = session
        self._settings = settings
        self._name = name
        self._followers = group.followers
        self._plans = alternating(
            [group.creator_id(number) for number in range(group.creators)], f"sus{settings.seed}"
        )
        self.runs: list[dict[str, Any]] = []

    async def best(self, wanted: float) -> dict[str, Any]:
        """Find the best rate, then hold it. Returns: the figures of the hold; `held` is false
        and there is no rate when no rate was held.
        """
        settings = self._settings
        rate = await self._bracket(wanted * settings.start_share, wanted * settings.rate_max_share)
        figures: dict[str, Any] = {}
        for _ in range(HOLDS_MAX):
            holds = [await self._try(rate, settings.hold_s, "hold") for _ in range(settings.holds)]
            figures = min(holds, key=lambda hold: hold["executed_orders_per_s"])
            if all(hold["held"] for hold in holds):
                return self._told(figures)
            rate *= LOWER
        # Executed with a growing backlog is not held.
        return self._told({**figures, "executed_orders_per_s": 0.0})

    def _told(self, figures: dict[str, Any]) -> dict[str, Any]:
        return {**figures, "trials": sum(run["kind"] == "trial" for run in self.runs)}

    async def _bracket(self, rate: float, rate_max: float) -> float:
        """Raise or lower the rate until one holds and the next does not, or the next is beyond
        the end. Returns: the highest rate held.
        """
        held: float | None = None
        failed: float | None = None
        with self._session.reporter.step(
            f"sustained {self._name}: searching", self._settings.trials_max
        ) as step:
            for _ in range(self._settings.trials_max):
                figures = await self._try(rate, self._settings.trial_s, "trial")
                step.advance()
                if figures["held"]:
                    held = rate
                    if failed is not None or rate * STEP > rate_max * (1 + ROUNDING):
                        break
                    rate *= STEP
                else:
                    failed = rate
                    if held is not None:
                        break
                    rate /= STEP
        return held if held is not None else rate

    async def _try(self, orders_per_s: float, seconds: float, kind: str) -> dict[str, Any]:
        fills_per_s = max(orders_per_s / self._followers, 1.0 / seconds)
        run = await self._session.on_schedule(self._plans, per_s=fills_per_s, seconds=seconds)
        figures = {
            "shape": self._name,
            "kind": kind,
            "offered_orders_per_s": fills_per_s * self._followers,
            **sustained_figures(run, followers=self._followers),
        }
        self.runs.append(figures)
        offered, executed = figures["offered_orders_per_s"], figures["executed_orders_per_s"]
        told = (
            f"offered {offered:,.0f}/s, executed {executed:,.0f}/s, "
            f"{'held' if figures['held'] else 'not held'}"
        )
        self._session.reporter.say(f"  {self._name} {kind}: {told}")
        return figures


def sustained_figures(run: MeasuredRun, *, followers: int) -> dict[str, Any]:
    """Compute the figures of one stretch at a rate. A fill offers one order per follower."""
    hops = run.hops
    lag = hops.to_last("updated")
    third = max(1, len(lag) // 3)
    middle_s, last_s = (
        float(np.median(part)) / 1e9 if len(part) else 0.0
        for part in (lag[third : 2 * third], lag[-third:])
    )
    began_ns, ended_ns = int(hops.intended[0]), int(hops.last["updated"].max())
    offered_s = float(hops.intended[-1] - began_ns) / 1e9
    is_steady = last_s - middle_s <= LAG_GROWTH_MAX * offered_s / 3 + LAG_SLACK_S
    is_executed = (
        hops.executions.sum() >= (1 - LAG_GROWTH_MAX) * followers * len(run.published)
        and (ended_ns - began_ns) / 1e9 <= (1 + LAG_GROWTH_MAX) * offered_s + DRAIN_SLACK_S
    )
    return {
        "executed_orders_per_s": float(hops.executions.sum()) / ((ended_ns - began_ns) / 1e9)
        if ended_ns > began_ns
        else 0.0,
        "held": bool(is_steady and is_executed),
        "lag_middle_third_s": middle_s,
        "lag_last_third_s": last_s,
        "orders": int(hops.orders.sum()),
        "orders_count_per_fill": float(hops.orders.mean()),
        "fills_incomplete": hops.missing(),
        "to_last_accepted": percentiles(hops.to_last("accepted").tolist()),
        "to_last_updated": percentiles(lag.tolist()),
        "stages": hops.shares(),
        "result_hash": result_hash([hops]),
        "processes": run.processes,
    }


def draw(report: BenchReport, path: Path) -> None:
    """Draw the rates held, and the lag at them."""
    figure, axes = new_figure(2, "sustained: executed copy orders per second")
    shapes = {
        name: f"({name}) {group.creators:,} x {group.followers:,}"
        for name in report.summary
        for group in (_group(name, report.settings["scale"]),)
    }
    draw_bars(
        axes[0],
        {text: report.summary[name]["executed_orders_per_s"] for name, text in shapes.items()},
        "held",
        "orders/s",
    )
    draw_percentiles(
        axes[1],
        {text: report.summary[name]["to_last_updated"] for name, text in shapes.items()},
        "to last position updated",
    )
    save(figure, path)


def _parts(settings: Settings) -> list[tuple[str, Settings]]:
    """Give each shape a cluster of its own."""
    return [(name, msgspec.structs.replace(settings, shapes=(name,))) for name in settings.shapes]


BENCHMARK = Benchmark("sustained", SIZES, measure, draw, sharded_config, _parts)
