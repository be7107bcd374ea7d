"""A repeated command, however late, does nothing again and gets its first answer."""

import pytest

from engine.messages.answers import Followed, Unfollowed
from engine.messages.commands import Follow, OpenAccount, Unfollow
from tests.actors.memory_shards import MemoryShards, command, turns


@pytest.fixture
async def shards() -> MemoryShards:
    shards = MemoryShards()
    creator = await shards.creator()
    await shards.open_creator(creator, "anna")
    return shards


async def test_an_unfollow_repeated_after_a_new_follow_ends_nothing(
    shards: MemoryShards,
) -> None:
    follower = await shards.follower()
    await turns(follower)
    first = await command(
        follower,
        OpenAccount("open", "a"),
        Follow("follow-1", "a", "anna", 10**9),
        Unfollow("unfollow-1", "a", "anna"),
        Follow("follow-2", "a", "anna", 10**9),
    )
    assert isinstance(first[2], Unfollowed)
    assert await command(follower, Unfollow("unfollow-1", "a", "anna")) == [first[2]]
    assert await command(follower, Follow("follow-2", "a", "anna", 10**9)) == [first[3]]


async def test_a_follow_repeated_after_a_newer_one_is_answered_as_before(
    shards: MemoryShards,
) -> None:
    follower = await shards.follower()
    await turns(follower)
    first = await command(
        follower,
        OpenAccount("open", "a"),
        Follow("follow-1", "a", "anna", 10**9),
        Unfollow("unfollow-1", "a", "anna"),
    )
    assert isinstance(first[1], Followed)
    again, _, late = await command(
        follower,
        Follow("follow-1", "a", "anna", 10**9),
        Follow("follow-2", "a", "anna", 10**9),
        Follow("follow-1", "a", "anna", 10**9),
    )
    assert again == late == first[1]
    assert await command(follower, Follow("follow-1", "a", "anna", 10**9)) == [first[1]]
