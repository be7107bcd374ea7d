"""Inputs that crash their shard every time: quarantined, their neighbours untouched, nothing
half-applied (P1 to P8, by the last audit).
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from actors.broker_gateway.actor import TRIES_MAX
from actors.shard.recovery import Phase
from engine.journal.events.creator import (
    CreatorResumed,
    CreatorSuspended,
    FillApplied,
    MarksUpdated,
)
from engine.journal.events.orders import SignalDecided
from engine.journal.events.shard import InputAttempted, InputQuarantined, OwnerFenced
from engine.journal.frame import ShardKind
from engine.values.dispositions import Disposition
from engine.values.ids import shard_of
from tests.faults.adversarial.poisoned import POISON, Poisoned, poisoned

CREATOR, FOLLOWER = ShardKind.CREATOR, ShardKind.FOLLOWER


@pytest.fixture(autouse=True)
def _short_logs() -> Iterator[None]:
    """Every crash is logged with its traceback, which takes seconds to draw for a terminal."""
    structlog.configure(processors=[structlog.processors.KeyValueRenderer()])
    yield
    structlog.reset_defaults()


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
            lambda: any(cluster.quarantined(kind) for kind in ShardKind), "the poison to be parked"
        )
    await cluster.drained()
    await cluster.publish("fills.paper.bert", cluster.fill("BBB", "buy", "50", "34"))
    await cluster.drained()


async def told(directory: Path, poison: Publish | None, **options: Any) -> Poisoned:
    async with poisoned(directory, **options) as cluster:
        await story(cluster, poison)
    return cluster


def fills(cluster: Poisoned) -> list[tuple[Any, ...]]:
    """Name the fills applied, but for their ids in our stories, which poison moves."""
    applied = cluster.events(CREATOR, FillApplied)
    return [tuple(getattr(fill, name) for name in FILL_FIELDS[1:]) for fill in applied]


@pytest.mark.parametrize("kills", [False, True], ids=["raises", "kills"])
@pytest.mark.parametrize(
    ("poison", "kind", "is_creators"),
    [(bad_fill, CREATOR, True), (bad_marks, CREATOR, False), (bad_executions, FOLLOWER, False)],
)
async def test_everything_else_is_applied_as_if_a_poison_had_not_been_there(
    poison: Publish, kind: ShardKind, is_creators: bool, kills: bool, tmp_path: Path
) -> None:
    """P4, P6: the twin never saw the poison; both end alike. The audit replays each of them."""
    found = await told(tmp_path / "found", poison, kills=kills)
    twin = await told(tmp_path / "twin", None, kills=kills)
    (quarantined,) = found.quarantined(kind)
    assert found.deadly.count <= found.settings.poison_crashes + 1
    assert quarantined.tries == 2
    (letter,) = found.letters()
    assert letter["reason"] == "poison"
    assert letter["sequence"] == quarantined.sequence
    assert fills(found) == fills(twin)
    assert found.holdings() == twin.holdings()
    suspended = found.events(CREATOR, CreatorSuspended)
    assert [event.sequence for event in suspended] == (
        [quarantined.sequence] if is_creators else []
    )


Message = tuple[str, str, str, str]
"""Creator, symbol, side, quantity; marks where there is no creator."""


async def random_story(cluster: Poisoned, messages: list[Message], poison_at: int | None) -> None:
    """Publish fills and marks one by one, one of them poison, and what follows the poison right
    behind it.
    """
    await cluster.open()
    for number, (creator, symbol, side, quantity) in enumerate(messages):
        is_poison = number == poison_at
        if creator:
            exec_id = "poison-fill" if is_poison else f"fill-{number}"
            fill = {**cluster.fill(symbol, side, quantity), "exec_id": exec_id}
            await cluster.publish(f"fills.paper.{creator}", fill)
        else:
            named = "POISON-MARK" if is_poison else symbol
            await cluster.publish(
                "marks.paper", [{"symbol": named, "px": quantity, "time": MARK_TIME}]
            )
        if not is_poison:
            await cluster.drained()


@pytest.mark.parametrize("seed", range(4))
async def test_whichever_input_is_poison_all_others_are_applied_as_without_it(
    seed: int, tmp_path: Path
) -> None:
    """P2, P4, P6, P7: the twin never saw the poison. What a suspended creator's followers hold is
    less by the entries not copied.
    """
    chance = random.Random(seed)
    messages: list[Message] = [
        (
            chance.choice(("anna", "bert", "")),
            f"S{chance.randrange(3)}",
            chance.choice(("buy", "buy", "sell")),
            str(chance.choice((20, 50, 90))),
        )
        for _ in range(8)
    ]
    at, kills = chance.randrange(1, 8), seed % 2 == 0
    async with poisoned(tmp_path / "found", kills=kills) as found:
        await random_story(found, messages, at)
    async with poisoned(tmp_path / "twin", kills=kills) as twin:
        await random_story(twin, messages[:at] + messages[at + 1 :], None)
    assert len(found.quarantined(CREATOR)) == 1
    assert fills(found) == fills(twin)
    suspended = messages[at][0]
    held, expected = (
        {where: what for where, what in each.holdings().items() if where[1] != suspended}
        for each in (found, twin)
    )
    assert held == expected


@pytest.mark.parametrize("kills", [False, True], ids=["raises", "kills"])
async def test_of_several_fills_in_a_message_one_is_quarantined_and_the_others_count(
    kills: bool, tmp_path: Path
) -> None:
    found = await told(tmp_path, bad_fill_among_others, kills=kills)
    (quarantined,) = found.quarantined(CREATOR)
    assert quarantined.position == 1
    assert [fill.quantity for fill in found.events(CREATOR, FillApplied)].count(10**8) == 2
    assert POISON not in {symbol for _, _, symbol in found.holdings()}


async def lethal_entry(cluster: Poisoned) -> None:
    await cluster.publish("fills.paper.anna", cluster.fill("LETHAL", "buy", "10"))


@pytest.mark.parametrize("kills", [False, True], ids=["raises", "kills"])
async def test_a_poison_signal_moves_nothing_and_suspends_its_creators_entries(
    kills: bool, tmp_path: Path
) -> None:
    """P2: every subscription has one disposition for it. Other creators go on, and so do exits,
    until the creator is resumed.
    """
    async with poisoned(tmp_path, kills=kills) as cluster:
        await story(cluster, lethal_entry)
        assert {quarantined.source for quarantined in cluster.quarantined(FOLLOWER)} == {2}
        by_signal: dict[int, list[int]] = {}
        for event in cluster.events(FOLLOWER, SignalDecided):
            by_signal.setdefault(event.signal, []).extend(event.dispositions.tolist())
        signals = {fill.signal: fill for fill in cluster.events(CREATOR, FillApplied)}
        (lethal,) = [signal for signal, fill in signals.items() if fill.quantity == 10 * 10**8]
        assert by_signal[lethal] == [Disposition.CREATOR_SUSPENDED] * 8
        sold = next(number for number, fill in signals.items() if fill.quantity == 30 * 10**8)
        assert set(by_signal[sold]) == {Disposition.ORDERED}
        await cluster.publish("fills.paper.anna", cluster.fill("AAA", "buy", "10"))
        await cluster.drained()
        assert last_dispositions(cluster) == {Disposition.CREATOR_SUSPENDED}
        answer = await cluster.command(
            "commands.creator.anna", type="resume_creator", action="void"
        )
        assert (answer["ok"], answer["parked"]) == (True, 0)
        await cluster.publish("fills.paper.anna", cluster.fill("AAA", "buy", "10"))
        await cluster.drained()
        assert last_dispositions(cluster) == {Disposition.ORDERED}


def last_dispositions(cluster: Poisoned) -> set[int]:
    """Name the dispositions of the last signal."""
    decided = cluster.events(FOLLOWER, SignalDecided)
    last = max(event.signal for event in decided)
    return {
        each for event in decided if event.signal == last for each in event.dispositions.tolist()
    }


async def test_a_suspended_creators_fills_count_and_only_its_exits_are_copied(
    tmp_path: Path,
) -> None:
    async with poisoned(tmp_path, kills=False) as cluster:
        await story(cluster, bad_fill)
        before = cluster.holdings()
        await cluster.publish("fills.paper.anna", cluster.fill("AAA", "buy", "40"))
        await cluster.drained()
        assert cluster.events(CREATOR, FillApplied)[-1].position_after == 110 * 10**8
        assert last_dispositions(cluster) == {Disposition.CREATOR_SUSPENDED}
        assert cluster.holdings() == before
        await cluster.publish("fills.paper.anna", cluster.fill("AAA", "sell", "110"))
        await cluster.drained()
        assert last_dispositions(cluster) == {Disposition.ORDERED}
        assert {held[1] for (_, who, _), held in cluster.holdings().items() if who == "anna"} == {0}


@pytest.mark.parametrize("action", ["replay", "void"])
async def test_a_quarantined_fill_is_decided_again_or_void_once_its_cause_is_gone(
    action: str, tmp_path: Path
) -> None:
    async with poisoned(tmp_path, kills=False) as cluster:
        await story(cluster, bad_fill_among_others)
        cluster.deadly.strike = lambda kind: None  # type: ignore[method-assign]
        for _ in range(2):
            answer = await cluster.command(
                "commands.creator.anna", command_id="resume-1", type="resume_creator", action=action
            )
            assert (answer["ok"], answer["parked"]) == (True, 1)
        await cluster.drained()
        assert len(cluster.events(CREATOR, CreatorResumed)) == 1
        symbols = [fill.quantity for fill in cluster.events(CREATOR, FillApplied)]
        assert symbols.count(10**8) == (3 if action == "replay" else 2)
        if action == "replay":
            assert last_dispositions(cluster) <= {
                Disposition.ORDERED,
                Disposition.BELOW_MIN_NOTIONAL,
            }
        await cluster.publish("fills.paper.anna", cluster.fill("AAA", "buy", "10"))
        await cluster.drained()
        assert last_dispositions(cluster) == {Disposition.ORDERED}


async def test_a_replay_that_crashes_again_leaves_the_fill_quarantined_and_the_command_refused(
    tmp_path: Path,
) -> None:
    async with poisoned(tmp_path, kills=False) as cluster:
        await story(cluster, bad_fill_among_others)
        answer = await cluster.command(
            "commands.creator.anna", type="resume_creator", action="replay"
        )
        assert (answer["ok"], answer["reason"]) == (False, "poison")
        await cluster.drained()
        assert not cluster.events(CREATOR, CreatorResumed)
        await cluster.publish("fills.paper.anna", cluster.fill("AAA", "buy", "10"))
        await cluster.drained()
        assert last_dispositions(cluster) == {Disposition.CREATOR_SUSPENDED}
        answer = await cluster.command(
            "commands.creator.anna", type="resume_creator", action="void"
        )
        assert (answer["ok"], answer["parked"]) == (True, 1)


@pytest.mark.parametrize("kills", [False, True], ids=["raises", "kills"])
@pytest.mark.parametrize(
    ("subject", "body"),
    [
        (
            "commands.creator.carl",
            {"type": "open_creator", "cash": "1", "command_id": "poison-command"},
        ),
        (
            "commands.account.zoe",
            {"type": "open_account", "broker": "poison-broker", "command_id": "zoe-1"},
        ),
    ],
)
async def test_a_poison_command_sent_again_and_again_is_refused_for_ever(
    subject: str, body: dict[str, Any], kills: bool, tmp_path: Path
) -> None:
    async with poisoned(tmp_path, kills=kills) as cluster:
        await cluster.open(accounts=2)
        for _ in range(2):
            answer = await cluster.command(subject, **body)
            assert (answer["ok"], answer["reason"]) == (False, "poison")
            await cluster.kill("creator")
            await cluster.kill("follower")
        assert cluster.deadly.count == cluster.settings.poison_crashes + 1
        good = {**body, "command_id": "good-1", "broker": "paper"}
        assert (await cluster.command(subject, **good))["ok"]


async def test_owners_that_end_without_anything_to_do_park_nothing(tmp_path: Path) -> None:
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
async def test_only_an_input_that_twice_ended_its_owner_alone_is_quarantined(
    deaths: int, tmp_path: Path
) -> None:
    """The owner is killed each time between saying which input it tries and deciding it."""
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


async def test_an_owner_that_dies_before_it_could_park_leaves_that_to_the_next(
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
        await cluster.until(lambda: bool(cluster.quarantined(CREATOR)), "the poison to be parked")
        await cluster.drained()
        assert len(cluster.letters()) == 1


async def test_a_poison_that_kills_the_process_costs_its_neighbour_in_it_nothing(
    tmp_path: Path,
) -> None:
    """Both shards are careful, and both have an input in hand whenever they run: only one at a time
    may be under suspicion.
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
        await cluster.until(lambda: bool(cluster.quarantined(CREATOR)), "the poison to be parked")
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


async def test_a_repeated_parking_is_one_dead_letter(tmp_path: Path) -> None:
    async with poisoned(tmp_path, kills=False) as cluster:
        await story(cluster, bad_marks)
        await cluster.kill("creator")
        await cluster.drained()
        assert len(cluster.letters()) == len(cluster.events(CREATOR, InputQuarantined)) == 1
        assert cluster.events(CREATOR, MarksUpdated)


async def test_quarantined_executions_are_named_by_the_audit_and_count_once_they_are_published_again(
    tmp_path: Path,
) -> None:
    """P8: what the broker did is not applied, and the audit says so; under its own ids it is
    applied once, whenever it comes again.
    """
    async with poisoned(tmp_path / "first", kills=False) as cluster:
        await cluster.open(accounts=4)
        await cluster.drained()
        cluster.deadly.reports_are_poison = True
        await cluster.publish("fills.paper.anna", cluster.fill("AAA", "buy", "100"))
        stream = cluster.server.stream("EXECUTIONS")
        await cluster.until(lambda: bool(stream.messages), "executions")
        await cluster.drained()
        assert len(cluster.quarantined(FOLLOWER)) == len(stream.messages)
        cluster.deadly.reports_are_poison = False
        await cluster.publish("fills.paper.bert", cluster.fill("BBB", "buy", "50"))
        await cluster.drained()
        assert {held[1] for (_, who, _), held in cluster.holdings().items() if who == "anna"} == {0}
        assert {
            held[1] > 0 for (_, who, _), held in cluster.holdings().items() if who == "bert"
        } == {True}
        report = await cluster.audit(tmp_path / "parked")
        assert report.passed, "\n".join(report.lines())
        assert report["P8"].counts["parked"] == 4
        assert any("positions may differ" in note for note in report.notes)
        for _ in range(2):
            for quarantined in cluster.quarantined(FOLLOWER):
                stream.store(
                    quarantined.subject,
                    stream.messages[quarantined.sequence - 1].data,
                    f"again-{len(stream.messages)}",
                )
            await cluster.drained()
            assert {held[0] == held[1] > 0 for held in cluster.holdings().values()} == {True}


@pytest.mark.parametrize("kills", [False, True], ids=["raises", "kills"])
async def test_a_gateway_that_cannot_take_a_frame_stops_and_tries_again_when_started_again(
    kills: bool, tmp_path: Path
) -> None:
    """Orders cannot be left out: none is quarantined or lost; an operator mends the cause."""
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
