"""Trade cancels and corrections reach a live shard. They count once, and only executions wait for
them (P6, P7, P8).
"""

import asyncio
from typing import Any

import msgspec
import numpy as np
import pytest

from actors.creator.actor import CreatorShardActor
from actors.follower.actor import FollowerShardActor
from engine.journal.events.orders import (
    ExecutionsApplied,
    OrdersPlaced,
    SignalDecided,
    TradesCorrected,
)
from engine.journal.events.shard import InputsRefused, refused_count
from engine.journal.frame import ShardKey, ShardKind
from engine.messages.blocks import CorrectionsReported, ExecutionsReported, encode_block
from engine.messages.commands import Follow, OpenAccount
from engine.values.order_ids import CauseKind, OrderId, OrderKey
from engine.values.order_status import ExecType
from engine.values.units import NS_PER_S
from tests.actors.memory_shards import START_NS, TIME, MemoryShards, command, hash_of, turns

FOLLOWER = ShardKey(ShardKind.FOLLOWER, 0)
ACCOUNTS = ("a", "b", "c", "d")


async def started() -> tuple[MemoryShards, CreatorShardActor, FollowerShardActor]:
    """Four accounts have bought 10 each at 100; nothing is open."""
    shards = MemoryShards()
    creator, follower = await shards.creator(), await shards.follower()
    await shards.open_creator(creator, "anna", "10000000000")
    await turns(follower)
    for account in ACCOUNTS:
        await command(
            follower,
            OpenAccount("open", account),
            Follow("follow", account, "anna", 10**10, mode=2),
        )
    await shards.publish("fills.paper.anna", [shards.fill("AAA")])
    await turns(creator, follower)
    await shards.publish("executions.paper.0", [trade(number) for number in range(len(ACCOUNTS))])
    await turns(creator, follower)
    assert follower.state.orders.count == 0
    return shards, creator, follower


def order_id(number: int) -> str:
    return str(OrderId(0, CauseKind.SIGNAL, 0, 1, number, 0, 0))


def trade(number: int) -> dict[str, Any]:
    """Make the trade of one account's order."""
    return {
        "exec_id": f"E{number}",
        "order_id": order_id(number),
        "exec_type": "trade",
        "transact_time": TIME,
        "last_qty": "10",
        "last_px": "100",
        "fee": "0.25",
    }


def bust(number: int, exec_id: str = "", **changes: Any) -> dict[str, Any]:
    """Make a trade cancel of it."""
    return {
        "exec_id": exec_id or f"B{number}",
        "order_id": order_id(number),
        "exec_type": "trade_cancel",
        "exec_ref_id": f"E{number}",
        "transact_time": TIME,
        **changes,
    }


def cash(follower: FollowerShardActor) -> list[int]:
    values: list[int] = follower.state.books[0].subscriptions["cash"].tolist()
    return values


def reasons(shards: MemoryShards) -> list[str]:
    letters = [
        msgspec.json.decode(message.data) for message in shards.server.stream("DEADLETTER").messages
    ]
    return [letter["reason"] for letter in letters]


async def test_p7_a_busted_trade_gives_back_exactly_what_it_took() -> None:
    shards, creator, follower = await started()
    paid = cash(follower)
    await shards.publish("executions.paper.0", [bust(0), bust(2)])
    await turns(creator, follower)
    slot = follower.state.books[0].slots[0]
    assert cash(follower) == [10**10, paid[1], 10**10, paid[3]]
    assert slot.position[:4].tolist() == [0, 10**9, 0, 10**9]
    assert slot.target[:4].tolist() == [0, 10**9, 0, 10**9], "what was bought is not worked again"
    assert slot.cost[:4].tolist() == [0, 10**9, 0, 10**9]
    assert not reasons(shards)


async def test_p8_a_bust_counts_once_and_every_other_reference_is_rejected_with_its_reason() -> (
    None
):
    shards, creator, follower = await started()
    await shards.publish("executions.paper.0", [bust(0), bust(0)])
    await turns(creator, follower)
    before = hash_of(follower)
    await shards.publish("executions.paper.0", bust(0))
    await turns(creator, follower)
    assert hash_of(follower) == before and not reasons(shards)
    others = [
        bust(0, "B-again"),
        bust(0, "B-of-bust", exec_ref_id="B0"),
        bust(1, exec_ref_id="never"),
        bust(2, exec_ref_id="E1"),
        bust(1, "B-half", last_qty="5", last_px="100"),
        bust(3, "C-much", exec_type="trade_correct", last_qty="11", last_px="100"),
        bust(3, "B-more", leaves_qty="11"),
    ]
    for other in others:
        await shards.publish("executions.paper.0", other)
    await turns(creator, follower)
    assert reasons(shards) == [
        "already_canceled",
        "not_a_trade",
        "unknown_execution",
        "unknown_execution",
        "mismatch",
        "overfill",
        "leaves_qty",
    ]
    again = await shards.follower()
    assert hash_of(again) == hash_of(follower)
    assert len(shards.events(FOLLOWER, TradesCorrected)) == 1


async def test_each_correction_in_a_chain_refers_to_the_latest_id() -> None:
    shards, creator, follower = await started()
    correct = {"exec_type": "trade_correct", "last_qty": "8", "last_px": "99", "fee": "0"}
    chain = [
        bust(0, "C1", **correct),
        bust(0, "C2", **{**correct, "exec_ref_id": "C1", "last_px": "98"}),
        bust(0, "C3", **correct),
        bust(0, "C4", exec_ref_id="C2"),
    ]
    await shards.publish("executions.paper.0", chain)
    await turns(creator, follower)
    assert reasons(shards) == ["already_corrected"]
    assert cash(follower)[0] == 10**10
    events = shards.events(FOLLOWER, TradesCorrected)
    assert [event.old_prices.tolist() for event in events] == [[10**8], [99 * 10**6], [98 * 10**6]]


async def test_p8_a_reopened_order_takes_new_trades_and_no_old_ones() -> None:
    shards, creator, follower = await started()
    await shards.publish("executions.paper.0", bust(0, leaves_qty="10"))
    await turns(creator, follower)
    assert follower.state.orders.count == 1
    follower = await shards.follower()
    await shards.publish("executions.paper.0", [trade(0), bust(0, leaves_qty="10")])
    await turns(creator, follower)
    assert follower.state.orders.count == 1, "what was said before is not said again"
    await shards.publish("executions.paper.0", {**trade(0), "exec_id": "E-new", "last_px": "90"})
    await turns(creator, follower)
    assert follower.state.orders.count == 0
    assert cash(follower)[0] == 10**10 - 900 * 10**6 - 250_000
    assert not reasons(shards)


async def test_an_ended_subscription_that_gets_its_shares_back_sells_them_again() -> None:
    shards, creator, follower = await started()
    await shards.publish("fills.paper.anna", [shards.fill("AAA", "sell")])
    await turns(creator, follower)
    sold = str(OrderId(0, CauseKind.SIGNAL, 0, 2, 0, 0, 0))
    await shards.publish("executions.paper.0", {**trade(0), "exec_id": "S", "order_id": sold})
    await turns(creator, follower)
    await shards.publish("executions.paper.0", bust(0, "B", order_id=sold, exec_ref_id="S"))
    await turns(creator, follower)
    slot = follower.state.books[0].slots[0]
    assert slot.position[0] == 10**9 and follower.state.orders.count == 3
    shards.clock.time_ns += 10**9
    await turns(creator, follower)
    assert follower.state.orders.count == 4, "a busted exit is sold again after its pause"
    (block,) = [
        block for block in follower.state.orders.of_slot(slot, -1) if block.key.attempt == 1
    ]
    assert block.terms.is_exit and block.quantity.tolist() == [10**9]


async def test_signals_and_commands_go_on_while_the_journal_is_read() -> None:
    shards, creator, follower = await started()
    read, may_read = shards.journal.read, asyncio.Event()

    async def slow(*args: Any, **options: Any) -> Any:
        await may_read.wait()
        return await read(*args, **options)

    shards.journal.read = slow  # type: ignore[method-assign]
    await shards.publish("executions.paper.0", bust(0))
    await follower.turn()
    assert follower.lookup.is_reading
    await shards.publish("fills.paper.anna", [shards.fill("AAA", "sell", "5")])
    await turns(creator)
    for _ in range(4):
        await follower.turn()
        await asyncio.sleep(0)
        await follower.core.rest()
    assert len(shards.events(FOLLOWER, SignalDecided)) == 2 and follower.lookup.is_reading
    assert not shards.events(FOLLOWER, TradesCorrected)
    may_read.set()
    await turns(creator, follower)
    (corrected,) = shards.events(FOLLOWER, TradesCorrected)
    assert corrected.old_quantities.tolist() == [10**9]
    again = await shards.follower()
    assert hash_of(again) == hash_of(follower)


@pytest.mark.parametrize("is_one_message", [True, False])
async def test_many_busts_read_the_journal_once(is_one_message: bool) -> None:
    shards, creator, follower = await started()
    reads, read = [0], shards.journal.read

    async def counted(*args: Any, **options: Any) -> Any:
        reads[0] += 1
        return await read(*args, **options)

    shards.journal.read = counted  # type: ignore[method-assign]
    busts = [
        bust(number, f"B{number}-{again}") for number in range(len(ACCOUNTS)) for again in range(20)
    ]
    for message in [busts] if is_one_message else busts:
        await shards.publish("executions.paper.0", message)
    await turns(creator, follower, count=20)
    assert reads[0] <= 4
    assert cash(follower) == [10**10] * len(ACCOUNTS)
    told = shards.events(FOLLOWER, InputsRefused)
    refused = [(reason, refused_count(reason)) for each in told for reason in each.reasons]
    assert sum(count for _, count in refused) == len(ACCOUNTS) * 19
    assert all(reason.startswith("already_canceled") for reason, _ in refused)
    assert (len(told) == 1) == is_one_message


async def test_a_block_of_busts_is_one_event_and_its_repeat_is_recognized() -> None:
    shards = MemoryShards()
    creator, follower = await shards.creator(), await shards.follower()
    await shards.open_creator(creator, "anna", "10000000000")
    await turns(follower)
    for number in range(30):
        await command(
            follower,
            OpenAccount("o", f"a{number}"),
            Follow("f", f"a{number}", "anna", 10**10, mode=2),
        )
    await shards.publish("fills.paper.anna", [shards.fill("AAA")])
    await turns(creator, follower)
    rows, zeros = np.arange(30), np.zeros(30, np.int64)
    traded = ExecutionsReported(
        0,
        "x-",
        OrderKey(0, 0, 1, 0, 0),
        START_NS,
        rows,
        rows,
        np.full(30, ExecType.TRADE),
        np.full(30, 10**9),
        np.full(30, 10**8),
        zeros,
    )
    busted = CorrectionsReported(
        0,
        "x-",
        "x-",
        OrderKey(0, 0, 1, 0, 0),
        START_NS,
        rows + 30,
        rows,
        rows,
        np.full(30, ExecType.TRADE_CANCEL),
        zeros,
        zeros,
        zeros,
        zeros,
    )
    for block in (traded, busted, busted):
        await shards.publish("executions.paper.0", encode_block(block))
    await turns(creator, follower)
    (event,) = shards.events(FOLLOWER, TradesCorrected)
    assert (
        event.numbers.tolist() == list(range(30, 60))
        and len(shards.events(FOLLOWER, ExecutionsApplied)) == 1
    )
    assert cash(follower) == [10**10] * 30
    assert not shards.events(FOLLOWER, InputsRefused)
    assert follower.state.execution_ids.rows() == [("paper", "x-", [[0, 59]])]


@pytest.mark.parametrize("is_careful", [False, True])
async def test_an_exit_corrected_again_and_again_never_uses_an_order_id_twice(
    is_careful: bool,
) -> None:
    """The second correction knows the attempts placed between the two, although its history was
    read before the first (P1).
    """
    shards, creator, follower = await started()
    await shards.publish("fills.paper.anna", [shards.fill("AAA", "sell")])
    await turns(creator, follower)
    if is_careful:
        for _ in range(3):
            follower = await shards.follower()
    assert follower.core.careful.is_on == is_careful

    async def report(body: dict[str, Any], attempt: int, **changes: Any) -> None:
        order = str(OrderId(0, CauseKind.SIGNAL, 0, 2, 0, 0, attempt))
        await shards.publish("executions.paper.0", {**body, "order_id": order, **changes})
        await turns(creator, follower)

    for name in ("S1", "S2"):
        await report(trade(0), 0, exec_id=name, last_qty="5")
    await report(bust(0, "B1"), 0, exec_ref_id="S1")
    shards.clock.time_ns += NS_PER_S
    await turns(creator, follower)
    await report(trade(0), 1, exec_id="T1", last_qty="5")
    await report(bust(0, "B2"), 0, exec_ref_id="S2")
    shards.clock.time_ns += 10 * NS_PER_S
    await turns(creator, follower)
    placed = [
        (event.key.attempt, number)
        for event in shards.events(FOLLOWER, OrdersPlaced)
        for number, quantity in zip(
            event.subscriptions.tolist(), event.quantities.tolist(), strict=True
        )
        if quantity
    ]
    assert placed == [(1, 0), (2, 0)]
    assert hash_of(await shards.follower()) == hash_of(follower)


async def test_p8_a_trade_in_a_frame_of_many_reports_is_taken_back_once() -> None:
    shards, creator, follower = await started()
    await shards.publish("fills.paper.anna", [shards.fill("AAA")])
    await turns(creator, follower)
    paid = cash(follower)
    second = [
        str(OrderId(0, CauseKind.SIGNAL, 0, 2, number, 0, 0)) for number in range(len(ACCOUNTS))
    ]
    trades = [
        {**trade(number), "exec_id": f"E{number}-{part}", "order_id": order, "last_qty": "5"}
        for part in range(2)
        for number, order in enumerate(second)
    ]
    await shards.publish("executions.paper.0", trades)
    await turns(creator, follower)
    frame = shards.frames(FOLLOWER)[-1]
    assert len(frame) == len(trades), "so many are packed into one section"
    for name in ("first", "again"):
        taken_back = [
            bust(number, order_id=order, exec_ref_id=f"E{number}-0")
            for number, order in enumerate(second)
        ]
        # The second time all but the last has been said before.
        await shards.publish(
            "executions.paper.0",
            [*taken_back, bust(0, name, order_id=second[0], exec_ref_id="E0-1")],
        )
        await turns(creator, follower)
    slot = follower.state.books[0].slots[0]
    assert slot.position[:4].tolist() == [10**9, 15 * 10**8, 15 * 10**8, 15 * 10**8]
    assert cash(follower)[1] == paid[1] - 500 * 10**6 - 250_000
    assert reasons(shards) == ["already_canceled"]
