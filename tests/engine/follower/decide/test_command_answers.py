"""Every kind of command is decided by its own decider, and answered by the type in the table."""

from typing import get_args

from engine.messages.commands import (
    COMMANDS,
    AccountCommand,
    Follow,
    OpenAccount,
    Pause,
    Resume,
    Unfollow,
)
from tests.engine.world.engine_world import EngineWorld
from tests.engine.world.follower_side import BROKER

STORY: list[AccountCommand] = [
    OpenAccount("c-1", "ann", BROKER),
    Follow("c-2", "ann", "carla", 10**9),
    Pause("c-3", "ann", "carla"),
    Resume("c-4", "ann", "carla"),
    Unfollow("c-5", "ann", "carla"),
]


def test_every_command_is_answered_by_the_type_in_the_table() -> None:
    world = EngineWorld()
    world.open_creator("carla", cash=10**9)
    answers = world.command(STORY)
    assert [type(answer) for answer in answers] == [
        COMMANDS[type(command)].answer for command in STORY
    ]
    assert {type(command) for command in STORY} == set(get_args(AccountCommand))
