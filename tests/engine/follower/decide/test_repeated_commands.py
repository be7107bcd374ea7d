"""A command sent again under its id gets the answer of its first time, even after later commands
(P3).
"""

from engine.messages.commands import Follow, OpenAccount, Unfollow
from tests.engine.world.engine_world import EngineWorld
from tests.engine.world.follower_side import BROKER

FIRST, SECOND = (Follow(f"follow-{number}", "ann", "carla", 1_000_000_000) for number in (1, 2))


def followed_anew() -> tuple[EngineWorld, list[object]]:
    world = EngineWorld()
    world.open_creator("carla", cash=1_000_000_000)
    answers = world.command([OpenAccount("open", "ann", BROKER)])
    for command in (FIRST, Unfollow("unfollow-1", "ann", "carla"), SECOND):
        answers += world.command([command])
    return world, answers


def test_a_repeated_follow_is_answered_as_before_after_a_later_one() -> None:
    world, answers = followed_anew()
    assert world.command([FIRST]) == [answers[1]]


def test_a_repeated_unfollow_does_not_end_what_was_followed_anew() -> None:
    world, answers = followed_anew()
    assert world.command([Unfollow("unfollow-1", "ann", "carla")]) == [answers[2]]
    assert world.command([SECOND]) == [answers[3]]
    assert world.sleeve("ann", "carla").cash == SECOND.cash
