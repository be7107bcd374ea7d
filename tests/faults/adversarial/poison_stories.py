"""Stories with one poison input, and what became of the rest."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from engine.journal.events.creator import (
    FillApplied,
)
from engine.journal.events.orders import SignalDecided
from engine.journal.frame import ShardKind
from tests.faults.adversarial.deadly import POISON
from tests.faults.adversarial.poisoned import Poisoned, poisoned

CREATOR, FOLLOWER = ShardKind.CREATOR, ShardKind.FOLLOWER


Publish = Callable[[Poisoned], Awaitable[None]]


MARK_TIME = "2023-11-14T22:13:20Z"


FILL_FIELDS = (
    "exec_id",
    "side",
    "quantity",
    "price",
    "equity",
    "position_before",
    "position_after",
)


async def bad_fill(cluster: Poisoned) -> None:
    await cluster.publish(
        "fills.paper.anna", {**cluster.fill("AAA", "buy", "1"), "exec_id": "poison-fill"}
    )


async def bad_fill_among_others(cluster: Poisoned) -> None:
    fills = [cluster.fill(symbol, "buy", "1") for symbol in ("CCC", POISON, "CCC")]
    await cluster.publish("fills.paper.anna", fills)


async def bad_marks(cluster: Poisoned) -> None:
    await cluster.publish(
        "marks.paper", [{"symbol": "POISON-MARK", "px": "7", "time": "2023-11-14T22:13:20Z"}]
    )


async def bad_executions(cluster: Poisoned) -> None:
    report = {
        "exec_id": "poison-execution",
        "exec_type": "canceled",
        "transact_time": "2023-11-14T22:13:20Z",
    }
    await cluster.publish("executions.paper.0", {**report, "order_id": "0000000000000000048010000"})


async def story(cluster: Poisoned, poison: Publish | None) -> None:
    """Let two creators trade before and after a poison, which the story may also be without."""
    await cluster.open()
    await cluster.publish("fills.paper.anna", cluster.fill("AAA", "buy", "100"))
    await cluster.publish("fills.paper.bert", cluster.fill("BBB", "buy", "70", "33.333333"))
    await cluster.drained()
    if poison is not None:
        await poison(cluster)
        # What comes while the poison is at work waits behind it, or shares a frame with it.
    await cluster.publish("fills.paper.bert", cluster.fill("BBB", "sell", "20", "35"))
    await cluster.publish(
        "marks.paper", [{"symbol": "AAA", "px": "104", "time": "2023-11-14T22:13:20Z"}]
    )
    await cluster.publish("fills.paper.anna", cluster.fill("AAA", "sell", "30", "101"))
    if poison is not None:
        await cluster.until(
            lambda: any(cluster.quarantined(kind) for kind in ShardKind),
            "the poison to be quarantined",
        )
    await cluster.drained()
    await cluster.publish("fills.paper.bert", cluster.fill("BBB", "buy", "50", "34"))
    await cluster.drained()


async def told(directory: Path, poison: Publish | None, **options: Any) -> Poisoned:
    async with poisoned(directory, **options) as cluster:
        await story(cluster, poison)
    return cluster


def applied_fills(cluster: Poisoned) -> list[tuple[Any, ...]]:
    """Return the applied fills without their ids, which poison moves."""
    applied = cluster.events(CREATOR, FillApplied)
    return [tuple(getattr(fill, name) for name in FILL_FIELDS[1:]) for fill in applied]


def last_dispositions(cluster: Poisoned) -> set[int]:
    """Return the dispositions of the last signal."""
    decided = cluster.events(FOLLOWER, SignalDecided)
    last = max(event.signal for event in decided)
    return {
        each for event in decided if event.signal == last for each in event.dispositions.tolist()
    }
