"""A command that comes again, however late, does nothing again and is answered as it was."""

import pytest

from engine.messages.answers import Followed, Unfollowed
from engine.messages.commands import Follow, OpenAccount, Unfollow
from tests.faults.adversarial.stage import Stage, command, turns


@pytest.fixture
async def stage() -> Stage:
    stage = Stage()
    creator = await stage.creator()
    await stage.open_creator(creator, "anna")
    return stage


async def test_an_unfollow_that_comes_again_after_a_new_follow_ends_nothing(stage: Stage) -> None:
    follower = await stage.follower()
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


async def test_a_follow_that_comes_again_after_a_newer_one_is_answered_as_it_was(
    stage: Stage,
) -> None:
    follower = await stage.follower()
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
