"""Commands in bulk: decided in columns, answered one by one, as if each had come alone (P1, P2)."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.columns.state import encode_state
from engine.follower.decide.commands import CommandBatch
from engine.follower.deciding import Deciding
from engine.follower.shard import FollowerShard
from engine.journal.events.orders import CancelsRequested, FollowUpsQueued, OrdersPlaced
from engine.journal.events.subscriptions import (
    CreatorsLearned,
    SubscriptionsEnded,
    SubscriptionsEnding,
)
from engine.messages.answers import AccountOpened, Followed, Unfollowed
from engine.messages.commands import AccountCommand, Follow, OpenAccount, Unfollow
from engine.values.copy_policy import CopyPolicy
from engine.values.ids import DEDICATED_SHARDS_MAX
from engine.values.order_ids import CauseKind, OrderKey
from engine.values.refusals import Refused
from tests.engine.follower.decide.many_followers import (
    COUNT,
    MULTIPLIER,
    decided,
    followed,
    kinds,
    unfollow,
)
from tests.engine.world.engine_world import EngineWorld
from tests.engine.world.follower_side import BROKER
from tests.reference.values import CANCELED
from tests.reference.world import execute_all

_few = st.sampled_from([0, 0, 0, 7])
_follows = st.builds(
    Follow,
    command_id=st.sampled_from(["f-0", "f-1", "f-2"]),
    account_id=st.sampled_from(["ann", "bob", "cid", "dee"]),
    creator_id=st.sampled_from(["c0", "c1", "c2", "c3", "c4"]),
    cash=st.integers(1, 10**12),
    mode=st.integers(0, 2),
    max_order_notional=_few,
    max_position_weight=_few,
    allow_short=st.booleans(),
)


@given(st.lists(_follows, max_size=20), st.integers(0, 20))
def test_follows_of_several_creators_in_one_batch_equal_single_follows(
    follows: list[Follow], copy: int
) -> None:
    """P2, P6: the same answers, and the same state to the last byte, into books that are there or
    not.
    """
    opened: list[AccountCommand] = [
        OpenAccount("o", name, BROKER) for name in ("ann", "bob", "cid", "dee")
    ]
    commands = [*opened, *follows]
    answers: list[list[Any]] = []
    states: list[bytes] = []
    for batches in (
        [commands[: 4 + copy], commands[4 + copy :]],
        [[command] for command in commands],
    ):
        shard = FollowerShard(0)
        creators = ["c0", "c1", "c2", "c3", "c4"]
        shard.apply_event(CreatorsLearned(0, np.arange(5), creators))
        answers.append([])
        for batch in batches:
            deciding = CommandBatch(
                Deciding(shard.state, CopyPolicy(), 1),
                creator_shards=1,
                follower_shards=1,
                brokers=frozenset({BROKER}),
            )
            for each in deciding.decide(batch):
                if hasattr(each, "TAG"):
                    shard.apply_event(each)
                else:
                    answers[-1].append(each)
        states.append(encode_state(shard.columns()))
    assert answers[0] == answers[1]
    assert states[0] == states[1]


def test_many_unfollows_are_one_ending_event_and_one_event_of_orders_per_instrument() -> None:
    world = followed()
    execute_all(world)
    events, answers = decided(world, [unfollow(number) for number in range(COUNT)])
    assert kinds(events) == [SubscriptionsEnding, *[OrdersPlaced] * 3]
    assert [answer.subscription for answer in answers] == list(range(COUNT))
    assert all(event.quantities.tolist() == [10**8] * COUNT for event in events[1:])


def test_many_unfollows_first_cancel_open_entries_in_one_event_per_instrument() -> None:
    world = followed()
    events, _ = decided(world, [unfollow(number) for number in range(COUNT)])
    assert kinds(events) == [SubscriptionsEnding, *[CancelsRequested, FollowUpsQueued] * 3]
    assert all(len(event.subscriptions) == COUNT for event in events)


def test_unfollows_of_several_creators_and_of_nothing_share_a_batch() -> None:
    world = EngineWorld()
    for creator in ("carla", "dana"):
        world.open_creator(creator, cash=10**9)
    world.command([OpenAccount("open", "ann", BROKER)])
    for creator in ("carla", "dana"):
        world.command([Follow(f"follow-{creator}", "ann", creator, 10**9)])
    commands: list[AccountCommand] = [
        Unfollow("u-0", "ann", "dana"),
        Unfollow("u-1", "ann", "dana"),
        Unfollow("u-2", "bob", "carla"),
        Unfollow("u-3", "ann", "carla"),
        Unfollow("u-0", "ann", "dana"),
    ]
    events, answers = decided(world, commands)
    assert kinds(events) == [SubscriptionsEnding, *[SubscriptionsEnded] * 2]
    assert [type(answer) for answer in answers] == [
        Unfollowed,
        Refused,
        Refused,
        Unfollowed,
        Unfollowed,
    ]
    assert answers[4] == answers[0]
    assert [answer.reason for answer in answers[1:3]] == ["unknown_subscription", "unknown_account"]


def test_commands_on_one_account_in_one_batch_keep_their_order() -> None:
    world = EngineWorld()
    world.open_creator("carla", cash=10**9)
    commands: list[AccountCommand] = [
        Unfollow("u-0", "ann", "carla"),
        OpenAccount("open", "ann", BROKER),
        Unfollow("u-1", "ann", "carla"),
        Follow("f-1", "ann", "carla", 10**9),
        Unfollow("u-2", "ann", "carla"),
        Follow("f-2", "ann", "carla", 10**9),
        Follow("f-3", "ann", "carla", 10**9),
    ]
    _, answers = decided(world, commands)
    assert [getattr(answer, "reason", "") for answer in answers] == [
        "unknown_account",
        "",
        "unknown_subscription",
        "",
        "",
        "",
        "subscription_exists",
    ]
    assert [answer.subscription for answer in answers if isinstance(answer, Followed)] == [0, 1]


def test_a_large_batch_is_decided_in_several_parts() -> None:
    world = followed()
    execute_all(world)
    commands: list[AccountCommand] = [unfollow(number) for number in range(COUNT)]
    events, _ = decided(world, commands, rows_max=221)
    batches = [event for event in events if isinstance(event, SubscriptionsEnding)]
    assert [len(batch.subscriptions) for batch in batches] == [50] * 4
    assert [batch.cause for batch in batches] == [1, 2, 3, 4]
    assert {
        (event.key.cause_number, event.key.leg)
        for event in events
        if isinstance(event, OrdersPlaced)
    } == {(cause, leg) for cause in (1, 2, 3, 4) for leg in range(3)}


def test_cancels_answered_one_by_one_leave_few_order_groups_and_no_follow_up() -> None:
    """JSON brokers send one report for each order. The order groups that a look-up reads must not
    grow with their number.
    """
    world = followed(slots=1)
    world.command([unfollow(number) for number in range(COUNT) if number % 2])
    execute_all(world)
    world.command([unfollow(number) for number in range(COUNT) if not number % 2])
    for order in world.open_orders():
        if order.is_cancelling:
            world.execute(order, order.remaining // 2, 10**6)
            world.end(order, CANCELED)
    shard = world.followers.live
    (slot,) = shard.state.books[0].slots
    assert not slot.follow_ups
    cause = OrderKey(CauseKind.COMMAND, 0, 1, 0, 1)
    groups = shard.state.orders.of_key(cause)
    assert sum(len(group.rows) for group in groups) == COUNT // 2
    assert len(groups) <= np.log2(COUNT)
    execute_all(world)
    assert shard.state.orders.count == 0
    assert {world.sleeve(f"a{number}", "carla").status for number in range(COUNT)} == {"ended"}
    world.check()


def test_exits_rejected_one_by_one_are_tried_again_together() -> None:
    world = followed(slots=1)
    execute_all(world)
    world.fill("carla", "S0", -1, 10**8, 10**6)
    for order in world.open_orders():
        world.end(order, "rejected")
        world.clock.time += 1
    frames = len(world.followers.frames)
    world.advance(2 * 10**9)
    assert len(world.followers.frames) == frames + 1
    (group,) = world.followers.live.state.orders.of_key(OrderKey(CauseKind.SIGNAL, 0, 2, 0, 1))
    assert len(group.rows) == COUNT
    world.check()


def test_many_commands_of_one_account_read_its_subscriptions_once() -> None:
    """Else four thousand repeated follows of one account take seconds in one turn."""
    world = EngineWorld()
    names = [f"creator-{number}" for number in range(COUNT)]
    for name in names:
        world.open_creator(name, cash=10**12)
    world.command([OpenAccount("open", "ann", BROKER)])
    follows: list[AccountCommand] = [
        Follow(f"f-{name}", "ann", name, 10**9, MULTIPLIER) for name in names
    ]
    answers = world.command(follows)
    shard = world.followers.live
    places = shard.state.places
    reads = 0

    class Counted:
        def __getitem__(self, name: str) -> Any:
            nonlocal reads
            reads += 1
            return places[name]

        count = places.count

    shard.state.places = Counted()  # type: ignore[assignment]
    _, repeated = decided(world, follows)
    shard.state.places = places
    assert repeated == answers
    assert reads == 3 * COUNT


def test_accounts_get_dedicated_shards_while_numbers_last() -> None:
    """An order id has room for a limited number of shards."""
    batch = CommandBatch(
        Deciding(FollowerShard(7).state, CopyPolicy(), 0),
        creator_shards=1,
        follower_shards=4096,
        brokers=frozenset({BROKER}),
    )
    opens: list[AccountCommand] = [
        OpenAccount("open", f"a{n}", BROKER, dedicated=True) for n in range(5)
    ]
    *_, second, third, fourth, fifth = [
        answer for answer in batch.decide(opens) if isinstance(answer, AccountOpened | Refused)
    ]
    assert isinstance(second, AccountOpened)
    assert isinstance(third, AccountOpened)
    assert third.shard == 3 * 4096 + 7 < DEDICATED_SHARDS_MAX
    assert isinstance(fourth, Refused)
    assert isinstance(fifth, Refused)
    assert fourth.reason == "out_of_range"
