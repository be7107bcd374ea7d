"""An operator's word on an order counts once, for an open order of the named account only, and no
further than what is left of it (P7, P8).
"""

from typing import Any

import pytest
from msgspec.structs import replace

from engine.journal.events.orders import RESOLVED_PREFIX, ExecutionsApplied, OrderResolved
from engine.journal.frame import decode_frame
from engine.messages.answers import Resolved
from engine.messages.blocks import exec_id_of
from engine.messages.commands import Follow, OpenAccount, Pause, ResolveOrder, Unfollow
from engine.values.copy_mode import Mode
from engine.values.order_ids import OrderId
from engine.values.order_status import ExecType
from engine.values.refusals import Refused
from tests.engine.world.engine_world import EngineWorld
from tests.engine.world.follower_side import BROKER

ONE = 10**8
DOLLAR = 10**6


def bought() -> tuple[EngineWorld, OrderId]:
    """Let ann and bob follow carla, who buys; each has an open order of 5. Returns: ann's."""
    world = EngineWorld()
    world.list_instrument("ACME", lot=1, min_notional=0)
    world.open_creator("carla", cash=100_000 * DOLLAR)
    for name in ("ann", "bob"):
        follow = Follow(
            f"follow-{name}",
            name,
            "carla",
            10_000 * DOLLAR,
            Mode.MULTIPLIER,
            ratio=DOLLAR // 10,
        )
        world.command([OpenAccount(f"open-{name}", name, BROKER), follow])
    world.fill("carla", "ACME", 1, 50 * ONE, 100 * DOLLAR)
    key, subscription = world.view.key_of(world.open_orders()[0])
    return world, key.order_id(0, subscription)


def filled(order: OrderId, quantity: int = 2 * ONE, name: str = "c-1") -> ResolveOrder:
    return ResolveOrder(name, "ann", order, ExecType.TRADE, quantity, 100 * DOLLAR)


def journaled(world: EngineWorld, kind: type) -> list[Any]:
    frames = (decode_frame(frame)[1] for frame in world.followers.frames)
    return [event for events in frames for event in events if isinstance(event, kind)]


def test_a_command_that_filled_a_part_is_answered_again_and_fills_nothing_more() -> None:
    world, order = bought()
    first = filled(order)
    for command in (first, filled(order, 3 * ONE, "c-2"), first):
        assert world.command([command]) == [Resolved(str(order))]
    assert world.position("ann", "carla", "ACME").position == 5 * ONE
    assert world.sleeve("ann", "carla").cash == 9_500 * DOLLAR
    world.check()


def test_a_command_is_answered_again_after_its_account_followed_anew() -> None:
    world, order = bought()
    ended = ResolveOrder("c-1", "ann", order, ExecType.CANCELED)
    again = Follow("c-3", "ann", "carla", 10**9)
    for command in (ended, Unfollow("c-2", "ann", "carla"), again):
        world.command([command])
    assert world.command([ended]) == [Resolved(str(order))]
    world.check()


def test_the_journal_says_who_resolved_an_order_how_and_why() -> None:
    world, order = bought()
    world.command([replace(filled(order), text="seen in the broker's terminal")])
    (resolved,) = journaled(world, OrderResolved)
    (applied,) = journaled(world, ExecutionsApplied)
    assert (resolved.key, resolved.subscription) == (order.key, order.subscription)
    assert (resolved.command_id, resolved.text) == ("c-1", "seen in the broker's terminal")
    assert (applied.broker, applied.prefix) == (BROKER, RESOLVED_PREFIX)
    assert applied.numbers.tolist() == [resolved.number]
    assert not exec_id_of(applied.prefix, resolved.number).isprintable()


def test_one_id_may_resolve_several_orders() -> None:
    world, first = bought()
    world.fill("carla", "ACME", 1, 10 * ONE, 100 * DOLLAR)
    orders = [order for order in world.open_orders() if order.key.account == "ann"]
    keys = [world.view.key_of(order) for order in orders]
    ids = [key.order_id(0, subscription) for key, subscription in keys]
    assert len(ids) == 2 and first in ids
    commands = [ResolveOrder("c-1", "ann", each, ExecType.CANCELED) for each in ids]
    assert world.command(list(commands)) == [Resolved(str(each)) for each in ids]
    assert [order.key.account for order in world.open_orders()] == ["bob", "bob"]


@pytest.mark.parametrize(
    ("change", "reason", "text"),
    [
        (lambda one: replace(one, account_id="eve"), "unknown_account", "an open account"),
        (lambda one: replace(one, account_id="bob"), "unknown_order", "one of account bob"),
        (
            lambda one: replace(one, order_id=one.order_id._replace(shard=3)),
            "unknown_order",
            "one of account ann",
        ),
        (
            lambda one: replace(one, order_id=one.order_id._replace(subscription=99)),
            "unknown_order",
            "one of account ann",
        ),
        (
            lambda one: replace(one, order_id=one.order_id._replace(attempt=1)),
            "unknown_order",
            "expected an open order",
        ),
        (lambda one: replace(one, last_qty=5 * ONE + 1), "overfill", "at most 5,"),
        (lambda one: replace(one, fee=10**18), "out_of_range", "largest values"),
    ],
)
def test_a_word_that_cannot_be_taken_is_refused_and_changes_nothing(
    change: Any, reason: str, text: str
) -> None:
    world, order = bought()
    frames = len(world.followers.frames)
    (answer,) = world.follower_side.decide_commands([change(filled(order))])
    assert isinstance(answer, Refused) and answer.reason == reason
    assert text in answer.text
    assert len(world.followers.frames) == frames


def test_an_order_that_is_over_cannot_be_resolved() -> None:
    world, order = bought()
    world.command([ResolveOrder("c-1", "ann", order, ExecType.CANCELED)])
    (answer,) = world.follower_side.decide_commands([filled(order, name="c-2")])
    assert isinstance(answer, Refused) and answer.reason == "unknown_order"


def test_a_broker_that_reports_after_an_operator_is_not_believed() -> None:
    world, order = bought()
    mine = world.open_orders()[0]
    late = world.broker_side.reported(mine, ExecType.TRADE, 5 * ONE, 100 * DOLLAR)
    world.command([ResolveOrder("c-1", "ann", order, ExecType.CANCELED)])
    (unmatched,) = world.broker_side.report(late)
    assert unmatched.reason == "unmatched_execution"
    assert world.position("ann", "carla", "ACME").position == 0


@pytest.mark.parametrize("kind", [Pause, Unfollow])
@pytest.mark.parametrize("is_first", [True, False])
def test_commands_in_one_message_are_decided_as_if_each_had_come_alone(
    kind: type, *, is_first: bool
) -> None:
    worlds = []
    for splits in (True, False):
        world, order = bought()
        world.fill("carla", "ACME", -1, 40 * ONE, 100 * DOLLAR)
        commands = [
            ResolveOrder("c-1", "ann", order, ExecType.CANCELED),
            kind("c-2", "ann", "carla"),
        ]
        commands = commands if is_first else commands[::-1]
        for message in [[each] for each in commands] if splits else [commands]:
            world.command(message)
        world.check()
        worlds.append((world.open_orders(), world.sleeve("ann", "carla")))
    assert worlds[0] == worlds[1]
