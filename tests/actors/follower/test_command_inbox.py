"""Follow and unfollow count from one past the later of the creator journal's tail, read after they
arrived, and the shard's cursor (P2).
"""

import asyncio

import pytest

from actors.errors import PermanentError
from actors.follower.command_inbox import CommandInbox, PendingCommands
from engine.journal.frame import ShardKey, ShardKind, decode_header
from engine.messages.answers import Answer, Followed, Unfollowed
from engine.messages.commands import AccountCommand, Follow, OpenAccount, Unfollow
from engine.values.refusals import Refused
from tests.actors.memory_shards import SETTINGS, MemoryShards, command, turns

CREATOR = ShardKey(ShardKind.CREATOR, 0)
COUNT = 50


async def tail(shards: MemoryShards) -> int:
    stored = await shards.journal.tail(CREATOR)
    assert stored is not None
    return decode_header(stored.data)[0].number


def bulk() -> list[AccountCommand]:
    accounts: list[AccountCommand] = [OpenAccount("open", f"a{number}") for number in range(COUNT)]
    return accounts + [Follow("follow", f"a{number}", "anna", 10**9) for number in range(COUNT)]


@pytest.mark.parametrize("restarts", [False, True])
async def test_a_follow_right_after_its_creator_was_opened_waits_for_the_journal(
    restarts: bool,
) -> None:
    shards = MemoryShards()
    creator, follower = await shards.creator(), await shards.follower()
    await turns(follower)
    await shards.open_creator(creator, "anna")
    await shards.publish("fills.paper.anna", [shards.fill(f"S{number}") for number in range(200)])
    await turns(creator)
    if restarts:
        follower = await shards.follower()
    answers = await command(follower, *bulk())
    followed = [answer for answer in answers if isinstance(answer, Followed)]
    assert [answer.from_frame for answer in followed] == [await tail(shards) + 1] * COUNT


async def test_an_unfollow_behind_a_backlog_of_fills_counts_after_all_of_them() -> None:
    shards = MemoryShards()
    creator, follower = await shards.creator(), await shards.follower()
    await shards.open_creator(creator, "anna")
    await turns(follower)
    await command(follower, *bulk())
    for _ in range(20):
        await shards.publish("fills.paper.anna", shards.fill("AAA"))
        await turns(creator)
    ends: list[AccountCommand] = [Unfollow("end", f"a{number}", "anna") for number in range(COUNT)]
    answered: list[Answer] = []

    async def reply(answers: list[Answer]) -> None:
        answered.extend(answers)

    assert follower.inbox.put(PendingCommands(ends, reply))
    before = await tail(shards)
    await turns(follower, count=200)
    ended = [answer.until_frame for answer in answered if isinstance(answer, Unfollowed)]
    assert ended == [before + 1] * COUNT


async def test_a_creator_that_nobody_opened_is_unknown_without_waiting() -> None:
    shards = MemoryShards()
    follower = await shards.follower()
    answers = await command(
        follower, OpenAccount("open", "ann"), Follow("follow", "ann", "nobody", 10**9)
    )
    assert isinstance(answers[1], Refused)
    assert answers[1].reason == "unknown_creator"


async def test_commands_that_arrive_while_a_tail_is_read_wait_for_the_next_tail() -> None:
    shards = MemoryShards()
    creator = await shards.creator()
    await shards.open_creator(creator, "anna")
    inbox = CommandInbox(
        shards.journal,
        creator_shards=1,
        commands_max=SETTINGS.inbox_commands_max,
        arrived=asyncio.Event(),
    )
    cursor = 0

    async def reply(answers: list[Answer]) -> None:
        raise AssertionError("nothing is decided here")

    async def taken() -> list[PendingCommands]:
        for _ in range(20):  # every read of a tail comes to its end
            await asyncio.sleep(0)
        return inbox.take(lambda shard: cursor)

    early, late = (
        PendingCommands([Follow(name, "a", "anna", 1)], reply) for name in ("early", "late")
    )
    assert inbox.put(early)
    assert inbox.take(lambda shard: cursor) == []
    assert inbox.put(late)
    assert await taken() == [], "the shard has read nothing"
    first = cursor = await tail(shards)
    await shards.publish("fills.paper.anna", shards.fill("AAA"))
    await turns(creator)
    assert await taken() == [early]
    assert await taken() == [], "the tail was read after the second arrived"
    cursor = await tail(shards)
    assert cursor > first
    assert await taken() == [late]
    assert inbox.count == 0
    await inbox.close()


async def test_a_tail_that_cannot_be_read_ends_the_shard() -> None:
    shards = MemoryShards()
    creator, follower = await shards.creator(), await shards.follower()
    await shards.open_creator(creator, "anna")

    async def refused(key: ShardKey) -> None:
        raise PermanentError(f"tail of {key}: forbidden")

    shards.journal.tail = refused  # type: ignore[method-assign]
    with pytest.raises(PermanentError, match="forbidden"):
        await command(follower, OpenAccount("open", "ann"), Follow("follow", "ann", "anna", 10**9))
