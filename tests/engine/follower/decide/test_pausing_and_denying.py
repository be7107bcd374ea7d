"""Operators pause and resume subscriptions and deny instruments. Increases stop, exits go on."""

from engine.journal.events.subscriptions import (
    SubscriptionsEnded,
    SubscriptionsEnding,
    SubscriptionsPaused,
    SubscriptionsResumed,
)
from engine.messages.answers import Paused, Resumed
from engine.messages.commands import AccountCommand, Pause, Resume, Unfollow
from engine.values.refusals import Refused
from tests.engine.follower.decide.many_followers import COUNT, decided, followed, kinds
from tests.engine.world.engine_world import EngineWorld
from tests.reference.values import BUY, SELL
from tests.reference.world import execute_all


def outcomes(world: EngineWorld, side: int, symbol: str = "S0") -> set[str]:
    return {each.reason or each.outcome for each in world.fill("carla", symbol, side, 10**7, 10**6)}


def test_a_paused_subscription_copies_exits_and_no_increases() -> None:
    world = followed(slots=1)
    execute_all(world)
    answers = world.command([Pause(f"p{number}", f"a{number}", "carla") for number in range(COUNT)])
    assert answers == [Paused(number) for number in range(COUNT)]
    assert outcomes(world, BUY) == {"paused"}
    assert outcomes(world, SELL) == {"ordered"}
    execute_all(world)
    assert world.command(
        [Resume(f"r{number}", f"a{number}", "carla") for number in range(COUNT)]
    ) == [Resumed(number) for number in range(COUNT)]
    assert outcomes(world, BUY) == {"ordered"}
    world.check()


def test_a_repeated_pause_is_answered_and_does_not_undo_a_later_resume() -> None:
    world = followed(slots=1)
    pause, resume = Pause("p", "a0", "carla"), Resume("r", "a0", "carla")
    first = world.command([pause])
    world.command([resume])
    assert world.command([pause]) == first
    assert world.sleeve("a0", "carla").status == "active"
    world.followers.live_from_snapshot()
    assert world.command([pause]) == first
    assert world.sleeve("a0", "carla").status == "active"


def test_commands_of_all_kinds_in_one_batch_keep_their_order() -> None:
    world = followed(slots=0)
    commands: list[AccountCommand] = [
        Pause("p-1", "a0", "carla"),
        Pause("p-2", "a1", "carla"),
        Resume("r-1", "a0", "carla"),
        Pause("p-3", "a0", "carla"),
        Unfollow("u-1", "a0", "carla"),
        Pause("p-4", "a0", "carla"),
        Resume("r-2", "a1", "nobody"),
    ]
    events, answers = decided(world, commands)
    assert kinds(events) == [
        SubscriptionsPaused,
        SubscriptionsResumed,
        SubscriptionsPaused,
        SubscriptionsEnding,
        SubscriptionsEnded,
    ]
    assert [answer.reason for answer in answers if isinstance(answer, Refused)] == [
        "unknown_subscription"
    ] * 2
    statuses = {name: world.sleeve(name, "carla").status for name in ("a0", "a1", "a2")}
    assert statuses == {"a0": "ended", "a1": "paused", "a2": "active"}


def test_a_denied_instrument_can_be_left_but_not_entered() -> None:
    world = followed(slots=2)
    execute_all(world)
    world.follower_side.deny("S0")
    assert outcomes(world, BUY) == {"instrument_denied"}
    assert outcomes(world, BUY, "S1") == {"ordered"}
    assert outcomes(world, SELL) == {"ordered"}
