"""One message names one order many thousands of times. It is taken in turns of bounded work, and
ends as if its executions had come one by one (P8).
"""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from actors.follower.actor import FollowerShardActor
from actors.follower.execution_feed import REPEATED_ROWS_MAX
from engine.journal.events.orders import ExecutionsApplied
from engine.journal.events.shard import InputsRefused, refused_count
from engine.messages.blocks import CorrectionsReported, ExecutionsReported, encode_block
from engine.values.order_status import ExecType
from tests.actors.memory_shards import START_NS, MemoryShards, hash_of, turns
from tests.faults.adversarial.test_executions_absurd import FOLLOWER, ones, report, started

MANY = 262_144
PRICE = 10**4


def rows_of(count: int, **changes: Any) -> ExecutionsReported:
    """Make a report of trades of one unit, of the first order unless told otherwise."""
    columns = {
        "subscriptions": 0,
        "exec_types": int(ExecType.TRADE),
        "quantities": 1,
        "prices": PRICE,
        "fees": 0,
    } | changes
    filled = {name: np.full(count, value, np.int64) for name, value in columns.items()}
    return report(numbers=np.arange(count, dtype=np.int64), **filled)


async def settled(shards: MemoryShards, follower: FollowerShardActor) -> list[int]:
    """Take turns until everything is taken. Returns: the executions of each frame."""
    await turns(follower, count=2 * MANY // REPEATED_ROWS_MAX)
    assert follower.state.cursors
    return [
        sum(len(event.numbers) for event in frame if isinstance(event, ExecutionsApplied))
        for frame in shards.frames(FOLLOWER)
    ]


async def test_a_quarter_million_trades_of_one_order_count_in_short_turns() -> None:
    shards, _, follower = await started(quantity="1000000", price="0.01", cash=10**13)
    await shards.publish("executions.paper.0", encode_block(rows_of(MANY)))
    counted = await settled(shards, follower)
    assert sum(counted) == MANY
    assert max(counted) <= REPEATED_ROWS_MAX
    (group,) = follower.state.orders.groups()
    assert group.filled.tolist() == [MANY, 0]
    assert hash_of(await shards.follower()) == hash_of(follower)


@pytest.mark.parametrize("subscription", [0, 1, 77])
async def test_a_quarter_million_executions_that_fit_no_order_are_few_dead_letters(
    subscription: int,
) -> None:
    shards, _, follower = await started(quantity="1000000", price="0.01", cash=10**13)
    (group,) = follower.state.orders.groups()
    everything = report(prefix="y-", quantities=group.quantity[:1], prices=ones(PRICE))
    await shards.publish("executions.paper.0", encode_block(everything))
    too_many = 1 + int(group.quantity[0])
    block = rows_of(MANY, subscriptions=subscription, quantities=too_many)
    await shards.publish("executions.paper.0", encode_block(block))
    assert sum(await settled(shards, follower)) == 1
    assert follower.core.counts.executions_refused == MANY
    told = shards.events(FOLLOWER, InputsRefused)
    assert len(told) <= MANY // REPEATED_ROWS_MAX
    assert sum(refused_count(reason) for event in told for reason in event.reasons) == MANY


async def test_a_quarter_million_corrections_of_one_order_are_few_dead_letters() -> None:
    shards, _, follower = await started(quantity="1000000", price="0.01", cash=10**13)
    trades = rows_of(MANY)
    zeros = np.zeros(MANY, np.int64)
    corrections = CorrectionsReported(
        follower_shard=0,
        prefix="c-",
        reference_prefix="x-",
        key=trades.key,
        transact_time=START_NS,
        numbers=trades.numbers,
        reference_numbers=trades.numbers,
        subscriptions=zeros,
        exec_types=zeros + int(ExecType.TRADE_CANCEL),
        quantities=zeros,
        prices=zeros,
        fees=zeros,
        leaves=zeros,
    )
    await shards.publish("executions.paper.0", encode_block(corrections))
    await turns(follower, count=600)
    assert follower.core.counts.executions_refused == MANY
    assert len(shards.events(FOLLOWER, InputsRefused)) <= MANY // 500


TRADES = [int(ExecType.TRADE)] * 40
QUANTITIES = st.integers(10**7, 10**9)
NOISE = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 0, 1, 9]),
        st.sampled_from([*TRADES, int(ExecType.CANCELED), int(ExecType.NEW)]),
        st.one_of(QUANTITIES, QUANTITIES, QUANTITIES, st.integers(-1, 10**10)),
        st.integers(0, 2 * PRICE),
        st.integers(-3, 10**4),
    ),
    min_size=20,
    max_size=60,
)


async def test_a_block_of_too_many_sections_is_refused_before_it_is_decoded() -> None:
    shards, creator, follower = await started()
    many = [
        report(numbers=ones(number), transact_time=START_NS + number) for number in range(20_000)
    ]
    await shards.publish("executions.paper.0", encode_block(*many))
    await shards.publish("executions.paper.0", encode_block(report()))
    await turns(creator, follower)
    (told,) = shards.events(FOLLOWER, InputsRefused)
    assert told.reasons == ["size: block: expected at most 16384 sections, found 20000"]
    assert len(shards.events(FOLLOWER, ExecutionsApplied)) == 1


async def test_numbers_that_fall_and_leave_gaps_cost_no_more_than_others() -> None:
    shards, _, follower = await started(quantity="1000000", price="0.01", cash=10**13)
    falling = replace(rows_of(MANY), numbers=2 * np.arange(MANY, 0, -1))
    await shards.publish("executions.paper.0", encode_block(falling))
    assert sum(await settled(shards, follower)) == MANY
    ((_, _, ranges),) = follower.state.execution_ids.rows()
    assert len(ranges) == MANY


@settings(max_examples=100, deadline=None)
@given(NOISE, st.sampled_from([1, 2]), st.sampled_from([1, 1, 2, 9]))
async def test_repeated_rows_end_as_if_they_had_come_one_by_one(
    noise: Any, signal: int, rows_each: int
) -> None:
    """The rows of each order keep their order, whatever stands between them. Signal 1 is an entry,
    signal 2 an exit. Of rows with one number, the first that fits counts.
    """
    columns = [np.array(column, np.int64) for column in zip(*noise, strict=True)]
    names = ("subscriptions", "exec_types", "quantities", "prices", "fees")
    numbers = [row // rows_each for row in range(len(noise))]
    whole = report(
        cause_number=signal, numbers=ones(*numbers), **dict(zip(names, columns, strict=True))
    )
    alone = [
        report(
            cause_number=signal,
            numbers=ones(number),
            **{n: c[row : row + 1] for n, c in zip(names, columns, strict=True)},
        )
        for row, number in enumerate(numbers)
    ]
    together, apart = [
        await after(blocks, signal) for blocks in ([[whole]], [[each] for each in alone])
    ]
    assert together[:3] == apart[:3]
    # A repeat with a wrong price is refused where it stands beside what it repeats.
    assert together[3] == apart[3] or rows_each > 1


async def after(messages: list[list[ExecutionsReported]], signal: int) -> Any:
    """Return what a follower shard holds after some messages, and how many rows it refused."""
    shards, creator, follower = await started(quantity="100", price="0.01", cash=10**13)
    if signal == 2:
        (group,) = follower.state.orders.groups()
        filled = report(
            prefix="y-",
            numbers=ones(1, 2),
            subscriptions=ones(0, 1),
            exec_types=ones(ExecType.TRADE, ExecType.TRADE),
            quantities=group.quantity,
            prices=ones(PRICE - 1, PRICE + 1),
            fees=ones(0, 7),
        )
        await shards.publish("executions.paper.0", encode_block(filled))
        await turns(follower)
        sale = shards.fill("AAA", side="sell", quantity="90", price="0.01")
        await shards.publish("fills.paper.anna", [sale])
        await turns(creator, follower)
        assert follower.state.orders.count == 2
    for sections in messages:
        await shards.publish("executions.paper.0", encode_block(*sections))
    await turns(creator, follower, count=len(messages) + 5)
    assert hash_of(await shards.follower()) == hash_of(follower)
    book, groups = follower.state.books[0], follower.state.orders.groups()
    (slot,) = book.slots
    return (
        slot.values[:, :2].tolist(),
        book.subscriptions.money(slice(0, 2)).tolist(),
        [(group.filled.tolist(), group.is_open.tolist()) for group in groups],
        follower.core.counts.executions_refused,
    )
