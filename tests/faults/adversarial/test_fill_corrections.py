"""Cancels and corrections of creators' fills: compensating signals in order, exact cash, each
counted once (P4, P6, P7).
"""

from typing import Any

import msgspec

from actors.creator.actor import CreatorShardActor
from actors.follower.actor import FollowerShardActor
from engine.creator.fills import FILL_HORIZON_NS
from engine.journal.events.creator import FillApplied, FillCorrected
from engine.journal.events.orders import SignalDecided
from engine.journal.frame import ShardKey, ShardKind
from engine.messages.commands import Follow, OpenAccount
from engine.values.units import format_time
from tests.actors.memory_shards import MemoryShards, command, hash_of, turns

CREATOR = ShardKey(ShardKind.CREATOR, 0)
FOLLOWER = ShardKey(ShardKind.FOLLOWER, 0)
CASH = 10**12


async def started() -> tuple[MemoryShards, CreatorShardActor, FollowerShardActor, str]:
    """A creator has bought 10 at 100, and an account follows with the same quantities. Returns: the
    fill's id too.
    """
    shards = MemoryShards()
    creator, follower = await shards.creator(), await shards.follower()
    await shards.open_creator(creator, "anna", "1000000")
    await turns(follower)
    await command(
        follower,
        OpenAccount("open", "a"),
        Follow("follow", "a", "anna", 10**10, mode=2, allow_short=True),
    )
    fill = shards.fill("AAA")
    await shards.publish("fills.paper.anna", fill)
    await turns(creator, follower)
    return shards, creator, follower, fill["exec_id"]


def correction(
    shards: MemoryShards, reference: str, exec_type: str = "trade_cancel", **changes: Any
) -> dict[str, Any]:
    """Make a correction's JSON under a new id."""
    body = {
        name: value for name, value in shards.fill("AAA").items() if not name.startswith("last_")
    }
    body["transact_time"] = format_time(shards.clock.time_ns)
    return {**body, "exec_type": exec_type, "exec_ref_id": reference, **changes}


async def sent(
    shards: MemoryShards, creator: CreatorShardActor, follower: FollowerShardActor, *bodies: Any
) -> None:
    for body in bodies:
        await shards.publish("fills.paper.anna", body)
    await turns(creator, follower)


def reasons(shards: MemoryShards) -> list[str]:
    return [
        msgspec.json.decode(message.data)["reason"]
        for message in shards.server.stream("DEADLETTER").messages
    ]


def anna(creator: CreatorShardActor) -> tuple[int, dict[int, int]]:
    (found,) = creator.state.creators
    return found.cash, found.positions


async def test_a_cancelled_buy_is_a_sell_at_the_current_mark() -> None:
    shards, creator, follower, fill = await started()
    mark = [{"symbol": "AAA", "px": "120", "time": format_time(shards.clock.time_ns + 1)}]
    await shards.publish("marks.paper", mark)
    await sent(shards, creator, follower, correction(shards, fill))
    (event,) = shards.events(CREATOR, FillCorrected)
    assert (event.side, event.quantity, event.price, event.signal) == (-1, 10**9, 120 * 10**6, 2)
    assert anna(creator) == (CASH, {0: 0}), "what it paid comes back, whatever the mark"
    decided = shards.events(FOLLOWER, SignalDecided)
    assert [(each.signal, each.terms.side, each.terms.price) for each in decided] == [
        (1, 1, 10**8),
        (2, -1, 120 * 10**6),
    ]
    assert hash_of(await shards.creator()) == hash_of(creator)


async def test_a_corrected_quantity_is_a_signal_and_a_corrected_price_is_none() -> None:
    shards, creator, follower, fill = await started()
    first = correction(shards, fill, "trade_correct", last_qty="10", last_px="99")
    second = correction(shards, first["exec_id"], "trade_correct", last_qty="14", last_px="99.5")
    await sent(shards, creator, follower, first, second)
    assert anna(creator) == (CASH - 1393 * 10**6, {0: 14 * 10**8})
    assert [each.quantity for each in shards.events(CREATOR, FillApplied)] == [10**9, 0, 4 * 10**8]
    assert [each.signal for each in shards.events(FOLLOWER, SignalDecided)] == [1, 3]
    again = await shards.creator()
    await sent(shards, again, follower, first, second, correction(shards, second["exec_id"]))
    assert anna(again) == (CASH, {0: 0}) and not reasons(shards)


async def test_a_cancel_across_zero_has_two_legs_in_order() -> None:
    shards, creator, follower, fill = await started()
    sell = {**shards.fill("AAA", "sell", "4"), "transact_time": format_time(shards.clock.time_ns)}
    await sent(shards, creator, follower, sell, correction(shards, fill))
    assert anna(creator)[1] == {0: -4 * 10**8}
    legs = [(each.signal, each.leg) for each in shards.events(FOLLOWER, SignalDecided)]
    assert legs == [(1, 0), (2, 0), (3, 0), (3, 1)]


async def test_an_impossible_correction_is_a_dead_letter_with_its_reason() -> None:
    shards, creator, follower, fill = await started()
    cancel = correction(shards, fill)
    await sent(shards, creator, follower, cancel)
    before = hash_of(creator)
    other = {**shards.fill("AAA"), "transact_time": format_time(shards.clock.time_ns)}
    await sent(shards, creator, follower, cancel)
    assert hash_of(creator) == before, "it counts once"
    await sent(
        shards,
        creator,
        follower,
        other,
        correction(shards, fill),
        correction(shards, cancel["exec_id"]),
        correction(shards, "never"),
        correction(shards, other["exec_id"], side="sell"),
        correction(shards, other["exec_id"], last_qty="9"),
        correction(shards, other["exec_id"], symbol="BBB"),
        correction(shards, other["exec_id"], position_after="3"),
    )
    assert reasons(shards) == [
        "already_canceled",
        "not_a_trade",
        "unknown_execution",
        "mismatch",
        "mismatch",
        "mismatch",
        "position_mismatch",
    ]
    assert len(shards.events(CREATOR, FillCorrected)) == 1


async def test_a_fill_older_than_the_horizon_can_no_longer_be_corrected() -> None:
    shards, creator, follower, fill = await started()
    for days in (6, 9):
        shards.clock.time_ns += days * FILL_HORIZON_NS // 7
        newer = {**shards.fill("AAA"), "transact_time": format_time(shards.clock.time_ns)}
        await sent(shards, creator, follower, newer)
    await sent(shards, creator, follower, correction(shards, fill))
    assert reasons(shards) == ["unknown_execution"]
    state = creator.state.columns()
    assert len(state["seen.day"]) == 1, "the days before are forgotten"
    assert hash_of(await shards.creator()) == hash_of(creator)
