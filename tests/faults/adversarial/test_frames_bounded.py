"""No input makes a frame that the server refuses. Such a frame would be refused for ever, and its
inputs read again for ever (P10).
"""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import msgspec
import numpy as np

from actors.creator.actor import CreatorShardActor
from engine.journal.chain import Chain
from engine.journal.events.creator import FillApplied
from engine.journal.events.orders import ExecutionsApplied, SignalDecided
from engine.journal.events.shard import InputsRefused
from engine.journal.events.subscriptions import SubscriptionsEnding
from engine.journal.frame import ShardKey, ShardKind
from engine.messages.answers import AccountOpened, Followed, Unfollowed
from engine.messages.blocks import ExecutionsReported, encode_block
from engine.messages.commands import AccountCommand, Follow, OpenAccount, Unfollow
from engine.messages.inputs import FillInput
from engine.values.order_ids import CauseKind, OrderId, OrderKey
from engine.values.order_status import ExecType
from gateways.json.format import JsonFormat
from tests.actors.memory_shards import (
    SETTINGS,
    START_NS,
    TIME,
    MemoryShards,
    command,
    command_messages,
    hash_of,
    turns,
)

CREATOR = ShardKey(ShardKind.CREATOR, 0)
FOLLOWER = ShardKey(ShardKind.FOLLOWER, 0)
CAP = 64 << 10
SMALL = msgspec.structs.replace(SETTINGS, frame_bytes_max=CAP)


def largest(shards: MemoryShards, key: ShardKey) -> int:
    messages = shards.server.stream(f"JOURNAL_{key.kind.name}").messages
    return max(len(message.data) for message in messages if message.subject == key.subject)


async def test_a_message_of_many_fills_spans_several_frames_and_resumes_after_a_crash() -> None:
    shards = MemoryShards(SMALL)
    creator = await shards.creator()
    await shards.open_creator(creator, "anna", "100000000")
    fills = [shards.fill(f"S{number % 40}", quantity="1", price="1") for number in range(2000)]
    fills[700]["side"], fills[700]["last_qty"] = "sell", "999999999"
    await shards.publish("fills.paper.anna", fills)
    await creator.turn()
    again = await shards.creator()
    await turns(again, count=60)
    applied = [fill.exec_id for fill in shards.events(CREATOR, FillApplied)]
    assert applied == [fill["exec_id"] for fill in fills]
    assert len(shards.frames(CREATOR)) > 8
    assert largest(shards, CREATOR) < 2 * CAP
    assert hash_of(await shards.creator()) == hash_of(again)


async def test_a_message_of_many_bad_fills_is_refused_over_several_frames_once_each() -> None:
    shards = MemoryShards(SMALL)
    creator = await shards.creator()
    fills = [shards.fill("AAA") for _ in range(2000)]
    await shards.publish("fills.paper.nobody", fills)
    # It is read in three turns, and begun in the next.
    await turns(creator, count=4)
    await turns(await shards.creator(), count=60)
    refused = [text for event in shards.events(CREATOR, InputsRefused) for text in event.excerpts]
    assert refused == [fill["exec_id"] for fill in fills]
    assert largest(shards, CREATOR) < 2 * CAP


class Unreadable(JsonFormat):
    """Reads fills, except marked ones while it is on."""

    is_on = True

    def fills(self, subject: str, data: bytes, sequence: int) -> Iterator[FillInput]:
        if self.is_on and b"unreadable" in data:
            raise RuntimeError("unreadable")
        return super().fills(subject, data, sequence)


async def quarantine(shards: MemoryShards, names: list[str], fills_count: int) -> CreatorShardActor:
    """Let each creator trade 200 instruments, then quarantine a message of its fills."""
    reader = Unreadable()
    shards.ports = shards.ports._replace(message_format=reader)
    creator = await shards.creator()
    for name in names:
        await shards.open_creator(creator, name, "100000000")
    for name in names:
        traded = [
            shards.fill(f"S{number}", quantity="1", price=f"{10 * 4 ** (number % 10)}")
            for number in range(200)
        ]
        await shards.publish(f"fills.paper.{name}", traded)
        fills = [shards.fill("AAA", quantity="1") for _ in range(fills_count)]
        await shards.publish(
            f"fills.paper.{name}", [{**fill, "order_id": "unreadable"} for fill in fills]
        )
    while creator.state.suspensions.count < len(names):
        creator = await shards.creator()
        with suppress(RuntimeError):
            await turns(creator, count=20)
    reader.is_on = False
    await turns(creator)
    creator = await shards.creator()
    assert not creator.core.careful.is_on
    return creator


async def resume(
    shards: MemoryShards, creator: CreatorShardActor, names: list[str], action: str
) -> list[Any]:
    """Resume creators at once."""
    asked = [
        asyncio.create_task(
            shards.bus.request(
                f"commands.creator.{name}",
                msgspec.json.encode(
                    {"command_id": action, "type": "resume_creator", "action": action}
                ),
                timeout_s=5.0,
            )
        )
        for name in names
    ]
    await asyncio.sleep(0)
    await turns(creator, count=20)
    return [msgspec.json.decode(answer) for answer in await asyncio.gather(*asked)]


async def test_quarantined_fills_too_large_for_a_frame_are_not_replayed_but_can_be_voided() -> None:
    """Each fill is journaled with every mark of its creator, and all of them share a frame."""
    shards = MemoryShards(SMALL)
    creator = await quarantine(shards, ["anna"], 1000)
    (answer,) = await resume(shards, creator, ["anna"], "replay")
    assert answer["reason"] == "size"
    (answer,) = await resume(shards, creator, ["anna"], "void")
    assert answer["ok"]
    assert largest(shards, CREATOR) < 2 * CAP


async def test_quarantined_fills_of_many_creators_are_replayed_over_several_frames() -> None:
    shards = MemoryShards(SMALL)
    names = [f"creator-{number}" for number in range(6)]
    creator = await quarantine(shards, names, 30)
    before = len(shards.events(CREATOR, FillApplied))
    answers = await resume(shards, creator, names, "replay")
    assert [answer.get("parked") for answer in answers] == [1] * 6
    assert len(shards.events(CREATOR, FillApplied)) == before + 6 * 30
    assert largest(shards, CREATOR) < 2 * CAP
    assert hash_of(await shards.creator()) == hash_of(creator)


async def test_waiting_signals_of_many_creators_are_decided_over_several_frames() -> None:
    """A follower shard that was away finds more fills than fit into a frame, each with few
    subscriptions.
    """
    shards = MemoryShards(msgspec.structs.replace(SMALL, part_rows=32_768))
    creator, follower = await shards.creator(), await shards.follower()
    await shards.open_creator(creator, "anna", "100000000")
    await turns(follower)
    await command(follower, OpenAccount("open", "a"), Follow("follow", "a", "anna", 10**12))
    fills = [shards.fill(f"S{number % 40}", quantity="1", price="1") for number in range(2000)]
    for start in range(0, len(fills), 100):
        await shards.publish("fills.paper.anna", fills[start : start + 100])
    await turns(creator, count=60)
    await turns(follower, count=80)
    assert [event.signal for event in shards.events(FOLLOWER, SignalDecided)] == list(
        range(1, 2001)
    )
    assert largest(shards, FOLLOWER) < 2 * CAP


async def test_a_message_of_many_executions_spans_several_frames_and_resumes_after_a_crash() -> (
    None
):
    shards = MemoryShards(SMALL)
    creator, follower = await shards.creator(), await shards.follower()
    await shards.open_creator(creator, "anna", "100000000")
    await turns(follower)
    count = 400
    for number in range(count):
        await command(
            follower,
            OpenAccount("o", f"a{number}"),
            Follow("f", f"a{number}", "anna", 10**10, mode=2),
        )
    await shards.publish("fills.paper.anna", [shards.fill("AAA", quantity="1")])
    await turns(creator, follower, count=20)
    reports: list[dict[str, Any]] = [
        {
            "exec_id": f"E{slice_}-{number}",
            "order_id": str(OrderId(0, CauseKind.SIGNAL, 0, 1, number, 0, 0)),
            "exec_type": "trade",
            "transact_time": TIME,
            "last_qty": "0.5",
            "last_px": "100",
        }
        for slice_ in range(2)
        for number in range(count)
    ]
    reports.insert(
        100,
        {
            **reports[0],
            "exec_id": "late",
            "order_id": str(OrderId(0, CauseKind.SIGNAL, 0, 9, 0, 0, 0)),
        },
    )
    await shards.publish("executions.paper.0", reports)
    await follower.turn()
    again = await shards.follower()
    await turns(again, count=40)
    applied = [event.prefix for event in shards.events(FOLLOWER, ExecutionsApplied)]
    assert sorted(applied) == sorted(
        report["exec_id"] for report in reports if report["exec_id"] != "late"
    )
    assert len(shards.events(FOLLOWER, InputsRefused)) == 1
    assert again.state.orders.count == 0
    assert largest(shards, FOLLOWER) < 2 * CAP
    assert hash_of(await shards.follower()) == hash_of(again)


async def test_a_huge_block_of_unknown_executions_is_refused_in_a_small_event() -> None:
    shards = MemoryShards(SMALL)
    follower = await shards.follower()
    count = 200_000
    numbers = np.arange(count, dtype=np.int64)
    block = ExecutionsReported(
        0,
        "x-",
        OrderKey(0, 0, 1, 0, 0),
        START_NS,
        numbers,
        numbers,
        np.full(count, int(ExecType.TRADE)),
        np.full(count, 10**8),
        np.full(count, 10**8),
        np.zeros(count, np.int64),
    )
    await shards.publish("executions.paper.0", encode_block(block))
    await turns(follower, count=20)
    assert len(shards.events(FOLLOWER, InputsRefused)) < 100
    assert follower.core.counts.executions_refused == count
    chain = Chain(FOLLOWER)
    for message in await shards.journal.read(FOLLOWER, after_sequence=0):
        assert chain.accept(message.data) is not None


async def test_accounts_and_follows_of_many_messages_span_frames_and_are_answered_once() -> None:
    """Commands in several small messages are split like those in one large message."""
    shards = MemoryShards(SMALL)
    creator, follower = await shards.creator(), await shards.follower()
    await shards.open_creator(creator, "anna", "100000000")
    await turns(follower)
    names = [f"{number:064d}" for number in range(4000)]
    opens: list[AccountCommand] = [OpenAccount(f"o{name}", name) for name in names]
    follows: list[AccountCommand] = [
        Follow(f"f{name}", name, "anna", 10**12 + number) for number, name in enumerate(names)
    ]
    opened = await command_messages(
        follower, *(opens[start : start + 500] for start in range(0, 4000, 500))
    )
    assert [type(answer) for answer in opened] == [AccountOpened] * 4000
    followed = await command_messages(
        follower, *(follows[start : start + 500] for start in range(0, 4000, 500))
    )
    assert [answer.subscription for answer in followed if isinstance(answer, Followed)] == list(
        range(4000)
    )
    assert largest(shards, FOLLOWER) < 2 * CAP
    assert 4 < len(shards.frames(FOLLOWER)) < 40
    assert hash_of(await shards.follower()) == hash_of(follower)


async def test_unfollows_in_bulk_span_several_frames_and_are_answered_once() -> None:
    shards = MemoryShards(SMALL)
    creator, follower = await shards.creator(), await shards.follower()
    await shards.open_creator(creator, "anna", "100000000")
    await turns(follower)
    names = [f"a{number}" for number in range(300)]
    await command(follower, *(OpenAccount("o", name) for name in names))
    await command(follower, *(Follow("f", name, "anna", 10**12, mode=2) for name in names))
    await shards.publish(
        "fills.paper.anna", [shards.fill(f"S{number}", quantity="1") for number in range(40)]
    )
    await turns(creator, follower, count=300)
    answers = await command(follower, *(Unfollow("u", name, "anna") for name in names))
    assert [answer.subscription for answer in answers if isinstance(answer, Unfollowed)] == list(
        range(300)
    )
    assert largest(shards, FOLLOWER) < 2 * CAP
    endings = shards.events(FOLLOWER, SubscriptionsEnding)
    assert 1 < len(endings) < 12
    assert hash_of(await shards.follower()) == hash_of(follower)


async def test_unfollows_of_many_creators_span_several_frames() -> None:
    """Each instrument of each creator is closed by its own events: few rows, but many events."""
    shards = MemoryShards(SMALL)
    creator, follower = await shards.creator(), await shards.follower()
    await turns(follower)
    await command(follower, OpenAccount("o", "a"))
    names = [f"creator-{number}" for number in range(50)]
    for name in names:
        await shards.open_creator(creator, name, "100000000")
    await turns(follower)
    await command(follower, *(Follow(f"f-{name}", "a", name, 10**12, mode=2) for name in names))
    for name in names:
        await shards.publish(
            f"fills.paper.{name}", [shards.fill(f"S{number}", quantity="1") for number in range(30)]
        )
    await turns(creator, count=60)
    await turns(follower, count=300)
    assert follower.state.orders.count == 50 * 30
    answers = await command(follower, *(Unfollow(f"u-{name}", "a", name) for name in names))
    assert [type(answer) for answer in answers] == [Unfollowed] * 50
    assert largest(shards, FOLLOWER) < 2 * CAP
    assert hash_of(await shards.follower()) == hash_of(follower)
