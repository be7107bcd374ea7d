"""After owners that crash again and again, the next one takes one input at a time, alone in its
process.

It quarantines only an input that ended two careful owners (P1 to P8, by the last audit).
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from actors.broker_gateway.actor import TRIES_MAX
from actors.shard.recovery import Phase
from engine.journal.events.creator import (
    BrokerMarksUpdated,
    FillApplied,
)
from engine.journal.events.shard import InputAttempted, InputQuarantined, OwnerFenced
from engine.journal.frame import ShardKind
from engine.values.ids import shard_of
from tests.faults.adversarial.poison_stories import (
    CREATOR,
    FOLLOWER,
    bad_executions,
    bad_fill,
    bad_marks,
    story,
)
from tests.faults.adversarial.poisoned import Poisoned, poisoned


async def test_owners_that_end_without_any_input_quarantine_nothing(tmp_path: Path) -> None:
    async with poisoned(tmp_path, kills=True) as cluster:
        await cluster.open()
        await cluster.drained()
        for kind in ("creator", "follower", "gateway") * 5:
            await cluster.drained()
            await cluster.kill(kind)
        await cluster.publish("fills.paper.anna", cluster.fill("AAA", "buy", "100"))
        await cluster.drained()
        assert cluster.events(CREATOR, InputAttempted)
        assert cluster.events(FOLLOWER, InputAttempted)
        assert not any(cluster.quarantined(kind) for kind in ShardKind)
        assert not cluster.letters()
        assert len(cluster.events(CREATOR, FillApplied)) == 1


@pytest.mark.parametrize("deaths", [1, 2])
async def test_only_an_input_that_ended_two_careful_owners_is_quarantined(
    deaths: int, tmp_path: Path
) -> None:
    """The owner is killed each time after announcing the input and before deciding it."""
    async with poisoned(tmp_path, kills=True) as cluster:
        await cluster.open()
        for _ in range(4):
            await cluster.drained()
            await cluster.kill("creator")
        await cluster.drained()
        append, left = cluster.journal.append, [deaths]

        async def deadly(key: Any, data: bytes, **options: Any) -> int:
            sequence = await append(key, data, **options)
            if b"fills.paper.anna" in data and key.kind is CREATOR and left[0]:
                left[0] -= 1
                cluster.deadly.strike("creator")
            return sequence

        cluster.journal.append = deadly  # type: ignore[method-assign]
        await cluster.publish("fills.paper.anna", cluster.fill("AAA", "buy", "100"))
        await cluster.until(lambda: not left[0], "the owner to be killed")
        await cluster.drained()
        assert len(cluster.quarantined(CREATOR)) == (deaths == 2)
        assert len(cluster.events(CREATOR, FillApplied)) == (deaths == 1)


async def test_an_owner_that_dies_before_quarantining_leaves_that_to_the_next(
    tmp_path: Path,
) -> None:
    async with poisoned(tmp_path, kills=True) as cluster:
        await cluster.open()
        append, deaths = cluster.journal.append, [2]

        async def deadly(key: Any, data: bytes, **options: Any) -> int:
            if b"poison: " in data and deaths[0]:
                deaths[0] -= 1
                cluster.deadly.strike("creator")
            return await append(key, data, **options)

        cluster.journal.append = deadly  # type: ignore[method-assign]
        await bad_fill(cluster)
        await cluster.until(
            lambda: bool(cluster.quarantined(CREATOR)), "the poison to be quarantined"
        )
        await cluster.drained()
        assert len(cluster.letters()) == 1


async def test_a_poison_that_kills_the_process_costs_the_neighbouring_shard_nothing(
    tmp_path: Path,
) -> None:
    """Both shards are careful and always have an input in hand. Only one at a time may be under
    suspicion.
    """
    places = (("creator", (0, 1)), ("follower", (0, 1)), ("gateway", (0,)))
    names = ("anna", "bert", "carl", "dora", "emil")
    async with poisoned(tmp_path, kills=True, places=places) as cluster:
        await cluster.open(names, accounts=4)
        for _ in range(4):
            await cluster.drained()
            await cluster.kill("creator")
        append = cluster.journal.append

        async def slow(key: Any, data: bytes, **options: Any) -> int:
            for _ in range(20):
                await asyncio.sleep(0)
            return await append(key, data, **options)

        cluster.journal.append = slow  # type: ignore[method-assign]
        neighbour = next(name for name in names if shard_of(name, 2) != shard_of("anna", 2))
        await cluster.publish(f"fills.paper.{neighbour}", cluster.fill("BBB", "buy", "100"))
        await bad_fill(cluster)
        for _ in range(3):
            for name in names:
                await cluster.publish(f"fills.paper.{name}", cluster.fill("AAA", "buy", "100"))
        await cluster.until(
            lambda: bool(cluster.quarantined(CREATOR)), "the poison to be quarantined"
        )
        await cluster.drained()
        (quarantined,) = cluster.quarantined(CREATOR)
        assert quarantined.subject == "fills.paper.anna"
        assert len(cluster.events(CREATOR, FillApplied)) == 16


async def test_a_crash_of_one_shard_does_not_end_its_neighbours(tmp_path: Path) -> None:
    async with poisoned(tmp_path, kills=False) as cluster:
        await story(cluster, bad_executions)
        fences = [
            shard
            for shard, events in cluster.frames(FOLLOWER)
            if events and isinstance(events[0], OwnerFenced)
        ]
        assert cluster.starts["follower"] == 1
        assert (fences.count(0), fences.count(1)) == (cluster.deadly.count + 1, 1)


async def test_a_repeated_quarantine_is_one_dead_letter(tmp_path: Path) -> None:
    async with poisoned(tmp_path, kills=False) as cluster:
        await story(cluster, bad_marks)
        await cluster.kill("creator")
        await cluster.drained()
        assert len(cluster.letters()) == len(cluster.events(CREATOR, InputQuarantined)) == 1
        assert cluster.events(CREATOR, BrokerMarksUpdated)


@pytest.mark.parametrize("kills", [False, True], ids=["raises", "kills"])
async def test_a_gateway_that_cannot_read_a_frame_stops_and_tries_again_after_a_restart(
    kills: bool, tmp_path: Path
) -> None:
    """Orders cannot be left out. None is quarantined or lost; an operator removes the cause."""
    async with poisoned(tmp_path, kills=kills) as cluster:
        await cluster.open()
        await cluster.drained()
        cluster.name.is_armed = True
        await cluster.publish("fills.paper.anna", cluster.fill("AAA", "buy", "100"))
        for _ in range(2):
            struck = cluster.deadly.count
            await cluster.until(
                lambda: gateway_phase(cluster) is Phase.FAILED, "the gateway to stop"
            )
            await cluster.kill("gateway")
            await cluster.until(lambda: cluster.deadly.count > struck, "another try")  # noqa: B023
        await cluster.until(lambda: gateway_phase(cluster) is Phase.FAILED, "the gateway to stop")
        assert cluster.deadly.count <= cluster.settings.poison_crashes + TRIES_MAX + 2
        assert not any(cluster.quarantined(kind) for kind in ShardKind)
        cluster.name.is_armed = False
        await cluster.kill("gateway")
        await cluster.drained()
        assert {held[1] > 0 for held in cluster.holdings().values()} == {True}


def gateway_phase(cluster: Poisoned) -> Phase:
    actor = cluster.hosts["gateway"].actors.get(0)
    return actor.core.phase if actor is not None else Phase.STARTING
