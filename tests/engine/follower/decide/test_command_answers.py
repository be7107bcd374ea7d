"""Every kind of command is decided by its own decider, and answered by the type in the table."""

from typing import get_args

from engine.messages.commands import (
    COMMANDS,
    AccountCommand,
    Follow,
    OpenAccount,
    Pause,
    ResolveOrder,
    Resume,
    Unfollow,
)
from engine.values.order_ids import CauseKind, OrderId
from engine.values.order_status import ExecType
from tests.engine.world.engine_world import EngineWorld
from tests.engine.world.follower_side import BROKER

STORY: list[AccountCommand] = [
    OpenAccount("c-1", "ann", BROKER),
    Follow("c-2", "ann", "carla", 10**9),
    Pause("c-3", "ann", "carla"),
    Resume("c-4", "ann", "carla"),
    ResolveOrder("c-5", "ann", OrderId(0, CauseKind.SIGNAL, 0, 1, 0, 0, 0), ExecType.CANCELED),
    Unfollow("c-6", "ann", "carla"),
]


def test_every_command_is_answered_by_the_type_in_the_table() -> None:
    world = EngineWorld()
    world.list_instrument("ACME", lot=1, min_notional=0)
    world.open_creator("carla", cash=10**9)
    answers = world.command(STORY[:2])
    world.fill("carla", "ACME", 1, 10**8, 10**8)
    answers += world.command(STORY[2:])
    assert [type(answer) for answer in answers] == [
        COMMANDS[type(command)].answer for command in STORY
    ]
    assert {type(command) for command in STORY} == set(get_args(AccountCommand))
