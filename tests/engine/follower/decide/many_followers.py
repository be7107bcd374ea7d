"""Many accounts that follow one creator, and commands of theirs decided in one batch."""

from typing import Any

from engine.follower.decide.commands import CommandBatch
from engine.follower.deciding import Deciding
from engine.messages.commands import AccountCommand, Follow, OpenAccount, Unfollow
from engine.values.copy_policy import CopyPolicy
from tests.engine.world.engine_world import EngineWorld
from tests.engine.world.follower_side import BROKER

COUNT = 200


MULTIPLIER = 2


def followed(*, slots: int = 3) -> EngineWorld:
    """Many accounts that hold every instrument of one creator."""
    world = EngineWorld()
    for number in range(slots):
        world.list_instrument(f"S{number}", lot=1, min_notional=0)
    world.open_creator("carla", cash=10**12)
    world.command([OpenAccount(f"open-{number}", f"a{number}", BROKER) for number in range(COUNT)])
    world.command([follow(number) for number in range(COUNT)])
    for number in range(slots):
        world.fill("carla", f"S{number}", 1, 10**8, 10**6)
    return world


def follow(number: int, name: str = "follow") -> Follow:
    return Follow(f"{name}-{number}", f"a{number}", "carla", 10**10, MULTIPLIER)


def unfollow(number: int, name: str = "unfollow") -> Unfollow:
    return Unfollow(f"{name}-{number}", f"a{number}", "carla")


def decided(
    world: EngineWorld, commands: list[AccountCommand], **settings: int
) -> tuple[list[Any], list[Any]]:
    """Decide commands in one batch. Returns: events and answers."""
    shard = world.followers.live
    batch = CommandBatch(
        Deciding(shard.state, CopyPolicy(), world.clock.time),
        creator_shards=1,
        follower_shards=1,
        brokers=frozenset({BROKER}),
        **settings,
    )
    events: list[Any] = []
    answers: list[Any] = []
    for each in batch.decide(commands):
        if hasattr(each, "TAG"):
            shard.apply_event(each)
            events.append(each)
        else:
            answers.append(each)
    return events, answers


def kinds(events: list[Any]) -> list[type]:
    return [type(event) for event in events]
