"""Creators' fills that are taken back or corrected: compensating signals in order, cash exact, each
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
from tests.faults.adversarial.stage import Stage, command, hash_of, turns

CREATOR = ShardKey(ShardKind.CREATOR, 0)
FOLLOWER = ShardKey(ShardKind.FOLLOWER, 0)
CASH = 10**12


async def started() -> tuple[Stage, CreatorShardActor, FollowerShardActor, str]:
    """A creator has bought 10 at 100, and an account follows with the same quantities. Returns: the
    fill's id too.
    """
    stage = Stage()
    creator, follower = await stage.creator(), await stage.follower()
    await stage.open_creator(creator, "anna", "1000000")
    await turns(follower)
    await command(
        follower,
        OpenAccount("open", "a"),
        Follow("follow", "a", "anna", 10**10, mode=2, allow_short=True),
    )
    fill = stage.fill("AAA")
    await stage.publish("fills.paper.anna", fill)
    await turns(creator, follower)
    return stage, creator, follower, fill["exec_id"]


def correction(
    stage: Stage, reference: str, exec_type: str = "trade_cancel", **changes: Any
) -> dict[str, Any]:
    """Make a correction's JSON under a new id."""
    body = {
        name: value for name, value in stage.fill("AAA").items() if not name.startswith("last_")
    }
    body["transact_time"] = format_time(stage.clock.time_ns)
    return {**body, "exec_type": exec_type, "exec_ref_id": reference, **changes}


async def sent(
    stage: Stage, creator: CreatorShardActor, follower: FollowerShardActor, *bodies: Any
) -> None:
    for body in bodies:
        await stage.publish("fills.paper.anna", body)
    await turns(creator, follower)


def reasons(stage: Stage) -> list[str]:
    return [
        msgspec.json.decode(message.data)["reason"]
        for message in stage.server.stream("DEADLETTER").messages
    ]


def anna(creator: CreatorShardActor) -> tuple[int, dict[int, int]]:
    (found,) = creator.state.creators
    return found.cash, found.positions


async def test_a_bought_quantity_taken_back_is_a_sell_at_the_current_mark() -> None:
    stage, creator, follower, fill = await started()
    mark = [{"symbol": "AAA", "px": "120", "time": format_time(stage.clock.time_ns + 1)}]
    await stage.publish("marks.paper", mark)
    await sent(stage, creator, follower, correction(stage, fill))
    (event,) = stage.events(CREATOR, FillCorrected)
    assert (event.side, event.quantity, event.price, event.signal) == (-1, 10**9, 120 * 10**6, 2)
    assert anna(creator) == (CASH, {0: 0}), "what it paid comes back, whatever the mark"
    decided = stage.events(FOLLOWER, SignalDecided)
    assert [(each.signal, each.terms.side, each.terms.price) for each in decided] == [
        (1, 1, 10**8),
        (2, -1, 120 * 10**6),
    ]
    assert hash_of(await stage.creator()) == hash_of(creator)


async def test_a_correction_is_the_difference_and_of_the_price_alone_no_signal() -> None:
    stage, creator, follower, fill = await started()
    first = correction(stage, fill, "trade_correct", last_qty="10", last_px="99")
    second = correction(stage, first["exec_id"], "trade_correct", last_qty="14", last_px="99.5")
    await sent(stage, creator, follower, first, second)
    assert anna(creator) == (CASH - 1393 * 10**6, {0: 14 * 10**8})
    assert [each.quantity for each in stage.events(CREATOR, FillApplied)] == [10**9, 0, 4 * 10**8]
    assert [each.signal for each in stage.events(FOLLOWER, SignalDecided)] == [1, 3]
    again = await stage.creator()
    await sent(stage, again, follower, first, second, correction(stage, second["exec_id"]))
    assert anna(again) == (CASH, {0: 0}) and not reasons(stage)


async def test_taking_back_across_zero_has_two_legs_in_order() -> None:
    stage, creator, follower, fill = await started()
    sell = {**stage.fill("AAA", "sell", "4"), "transact_time": format_time(stage.clock.time_ns)}
    await sent(stage, creator, follower, sell, correction(stage, fill))
    assert anna(creator)[1] == {0: -4 * 10**8}
    legs = [(each.signal, each.leg) for each in stage.events(FOLLOWER, SignalDecided)]
    assert legs == [(1, 0), (2, 0), (3, 0), (3, 1)]


async def test_whatever_it_cannot_mean_is_a_dead_letter_with_its_reason() -> None:
    stage, creator, follower, fill = await started()
    cancel = correction(stage, fill)
    await sent(stage, creator, follower, cancel)
    before = hash_of(creator)
    other = {**stage.fill("AAA"), "transact_time": format_time(stage.clock.time_ns)}
    await sent(stage, creator, follower, cancel)
    assert hash_of(creator) == before, "it counts once"
    await sent(
        stage,
        creator,
        follower,
        other,
        correction(stage, fill),
        correction(stage, cancel["exec_id"]),
        correction(stage, "never"),
        correction(stage, other["exec_id"], side="sell"),
        correction(stage, other["exec_id"], last_qty="9"),
        correction(stage, other["exec_id"], symbol="BBB"),
        correction(stage, other["exec_id"], position_after="3"),
    )
    assert reasons(stage) == [
        "already_canceled",
        "not_a_trade",
        "unknown_execution",
        "mismatch",
        "mismatch",
        "mismatch",
        "position_mismatch",
    ]
    assert len(stage.events(CREATOR, FillCorrected)) == 1


async def test_a_fill_older_than_the_horizon_is_not_known_any_more() -> None:
    stage, creator, follower, fill = await started()
    for days in (6, 9):
        stage.clock.time_ns += days * FILL_HORIZON_NS // 7
        newer = {**stage.fill("AAA"), "transact_time": format_time(stage.clock.time_ns)}
        await sent(stage, creator, follower, newer)
    await sent(stage, creator, follower, correction(stage, fill))
    assert reasons(stage) == ["unknown_execution"]
    state = creator.state.columns()
    assert len(state["seen.day"]) == 1, "the days before are forgotten"
    assert hash_of(await stage.creator()) == hash_of(creator)
