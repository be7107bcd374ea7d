"""A broker may report anything about executions. Senseless reports are refused, the shard goes on,
nothing counts twice or is lost (P8).
"""

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from actors.creator.actor import CreatorShardActor
from actors.follower.actor import FollowerShardActor
from actors.follower.execution_feed import AHEAD_BYTES_MAX, REPORT_ROWS_MAX
from actors.follower.executions import REPORT_ROWS_MIN
from engine.journal.cursors import Source
from engine.journal.events.orders import ExecutionsApplied, SignalDecided
from engine.journal.events.shard import InputsRefused
from engine.journal.frame import ShardKey, ShardKind
from engine.messages.blocks import ExecutionsReported, Report, encode_block
from engine.messages.commands import Follow, OpenAccount
from engine.values.order_ids import CauseKind, OrderId, OrderKey
from engine.values.order_status import ExecType
from engine.values.units import TIME_MAX_NS
from gateways.json.format import JsonFormat
from tests.actors.memory_shards import START_NS, TIME, MemoryShards, command, hash_of, turns

FOLLOWER = ShardKey(ShardKind.FOLLOWER, 0)


def ones(*values: int) -> Any:
    return np.array(values, np.int64)


def report(**changes: Any) -> ExecutionsReported:
    """Make a report on the first order of signal 1."""
    plain = ExecutionsReported(
        0,
        "x-",
        OrderKey(0, 0, 1, 0, 0),
        START_NS,
        ones(1),
        ones(0),
        ones(ExecType.TRADE),
        ones(10**7),
        ones(10**8),
        ones(0),
    )
    key = {name: changes.pop(name) for name in OrderKey._fields if name in changes}
    return replace(plain, key=plain.key._replace(**key), **changes)


async def started(
    quantity: str = "10", price: str = "100", cash: int = 10**10
) -> tuple[MemoryShards, CreatorShardActor, FollowerShardActor]:
    """Two accounts have an open entry each."""
    shards = MemoryShards()
    creator, follower = await shards.creator(), await shards.follower()
    await shards.open_creator(creator, "anna", "10000000000")
    await turns(follower)
    for account in ("a", "b"):
        await command(
            follower, OpenAccount("open", account), Follow("follow", account, "anna", cash, mode=2)
        )
    await shards.publish("fills.paper.anna", [shards.fill("AAA", quantity=quantity, price=price)])
    await turns(creator, follower)
    assert follower.state.orders.count == 2
    return shards, creator, follower


@pytest.mark.parametrize(
    "changes",
    [
        {"cause_kind": 9},
        {"cause_kind": -1},
        {"creator_shard": 1 << 40},
        {"cause_number": -1},
        {"cause_number": 1 << 40},
        {"leg": 1 << 12},
        {"attempt": -5},
        {"subscriptions": ones(-1)},
        {"subscriptions": ones(1 << 62)},
        {"numbers": ones(-7)},
        {"quantities": ones(-(1 << 62))},
        {"prices": ones(1 << 62)},
        {"fees": ones(-(1 << 63))},
        {"exec_types": ones(300)},
    ],
)
async def test_an_execution_with_coordinates_out_of_range_stops_nothing(
    changes: dict[str, Any],
) -> None:
    shards, creator, follower = await started()
    before = hash_of(follower)
    await shards.publish("executions.paper.0", encode_block(report(**changes)))
    await shards.publish("executions.paper.0", encode_block(report()))
    await turns(creator, follower)
    (applied,) = shards.events(FOLLOWER, ExecutionsApplied)
    assert applied.numbers.tolist() == [1]
    assert hash_of(follower) != before
    again = await shards.follower()
    assert hash_of(again) == hash_of(follower)


async def test_an_execution_whose_value_exceeds_the_range_is_refused() -> None:
    """Ten million dollars for each of a million units is a mistake and must not wrap around in the
    cash (P7).
    """
    shards, creator, follower = await started(quantity="1000000", price="0.01", cash=10**13)
    cash = follower.state.books[0].subscriptions["cash"].tolist()
    await shards.publish(
        "executions.paper.0", encode_block(report(quantities=ones(10**14), prices=ones(10**13)))
    )
    await turns(creator, follower)
    assert follower.state.books[0].subscriptions["cash"].tolist() == cash
    (refused,) = shards.events(FOLLOWER, InputsRefused)
    assert refused.reasons[0].startswith("out_of_range")


async def test_a_block_of_many_equal_executions_makes_a_small_frame() -> None:
    shards, creator, follower = await started()
    count = 1 << 20
    columns = {
        name: np.full(count, value, np.int64)
        for name, value in {
            "subscriptions": 77,
            "exec_types": int(ExecType.TRADE),
            "quantities": 1,
            "prices": 1,
            "fees": 0,
        }.items()
    }
    await shards.publish(
        "executions.paper.0", encode_block(report(numbers=np.arange(count), prefix="y-", **columns))
    )
    await turns(creator, follower, count=2)
    refused = shards.events(FOLLOWER, InputsRefused)
    assert 0 < len(refused) < 1000
    assert len(shards.server.stream("DEADLETTER").messages) < 1000


@pytest.mark.parametrize("prefix", ["p" * 65_000, "p" * 129, "p\0"])
async def test_a_block_with_an_overlong_id_prefix_is_refused(prefix: str) -> None:
    """A prefix is journaled with every section. A message of long ones would make a frame that the
    server refuses.
    """
    shards, creator, follower = await started(quantity="1000")
    sections = [report(prefix=f"{number}{prefix}", quantities=ones(10**6)) for number in range(100)]
    await shards.publish("executions.paper.0", encode_block(*sections))
    await shards.publish("executions.paper.0", encode_block(report(prefix="p" * 128)))
    await turns(creator, follower)
    (refused,) = shards.events(FOLLOWER, InputsRefused)
    assert refused.reasons[0].startswith(
        "text: prefix: expected at most 128 printable characters, found "
    )
    (applied,) = shards.events(FOLLOWER, ExecutionsApplied)
    assert applied.prefix == "p" * 128


@pytest.mark.parametrize("time_ns", [-(1 << 63), -1, TIME_MAX_NS, (1 << 63) - 1])
async def test_a_block_from_another_age_is_refused_and_moves_no_time(time_ns: int) -> None:
    """Taken as event time it would make all later entries too old."""
    shards, creator, _ = await started()
    shards.settings = replace(shards.settings, uses_event_clock=True)
    follower = await shards.follower()
    await shards.publish("executions.paper.0", encode_block(report(transact_time=time_ns)))
    await shards.publish("executions.paper.0", encode_block(report(transact_time=START_NS + 7)))
    await turns(creator, follower)
    (refused,) = shards.events(FOLLOWER, InputsRefused)
    assert refused.reasons[0].startswith(
        "time: block: expected a transact_time between 1970 and 2116"
    )
    assert len(shards.events(FOLLOWER, ExecutionsApplied)) == 1
    assert follower.core.writer.event_time_ns == START_NS + 7


async def test_a_message_of_many_executions_is_applied_over_several_short_turns() -> None:
    """Each unnumbered execution is decided by itself. Thousands in one turn would hold up every
    shard of the process for a second.
    """
    shards, creator, follower = await started(quantity="1000")
    plain = {"exec_type": "trade", "transact_time": TIME, "last_qty": "0.01", "last_px": "100"}
    order_id = str(OrderId(0, CauseKind.SIGNAL, 0, 1, 0, 0, 0))
    count = 3 * REPORT_ROWS_MAX // REPORT_ROWS_MIN
    many = [{**plain, "exec_id": f"E{number}", "order_id": order_id} for number in range(count)]
    await shards.publish("executions.paper.0", many)
    await turns(creator, follower, count=12)
    frames = [
        [each for each in frame if isinstance(each, ExecutionsApplied)]
        for frame in shards.frames(FOLLOWER)
    ]
    assert sum(map(len, frames)) == count
    assert max(map(len, frames)) <= REPORT_ROWS_MAX // REPORT_ROWS_MIN
    assert hash_of(await shards.follower()) == hash_of(follower)


async def test_the_same_unnumbered_execution_in_one_message_twice_and_late_counts_once() -> None:
    shards, creator, follower = await started()
    (decided,) = shards.events(FOLLOWER, SignalDecided)
    order = OrderId(0, CauseKind.SIGNAL, 0, decided.signal, 0, 0, 0)
    one = {
        "exec_id": "E1",
        "order_id": str(order),
        "exec_type": "trade",
        "transact_time": TIME,
        "last_qty": "10",
        "last_px": "100",
    }
    await shards.publish("executions.paper.0", [one, one])
    await turns(creator, follower)
    await shards.publish("executions.paper.0", [one])
    await turns(creator, follower)
    assert len(shards.events(FOLLOWER, ExecutionsApplied)) == 1
    assert not shards.events(FOLLOWER, InputsRefused)


async def test_executions_of_one_id_on_several_unknown_orders_are_a_dead_letter_each() -> None:
    """An id belongs to one account. The same id at another account is another execution (P8)."""
    shards, creator, follower = await started()
    report_ = {
        "exec_id": "E1",
        "exec_type": "trade",
        "transact_time": TIME,
        "last_qty": "10",
        "last_px": "100",
    }
    orders = [str(OrderId(0, CauseKind.SIGNAL, 0, 99, number, 0, 0)) for number in range(5)]
    await shards.publish("executions.paper.0", [{**report_, "order_id": order} for order in orders])
    await turns(creator, follower)
    letters = [message.data.decode() for message in shards.server.stream("DEADLETTER").messages]
    assert [order for order in orders for letter in letters if order in letter] == orders
    await turns(await shards.follower())
    assert len(shards.server.stream("DEADLETTER").messages) == len(letters)


async def test_many_late_repeats_read_the_journal_once() -> None:
    shards, creator, follower = await started()
    (decided,) = shards.events(FOLLOWER, SignalDecided)
    ones_ = [
        {
            "exec_id": "E1",
            "order_id": str(OrderId(0, CauseKind.SIGNAL, 0, decided.signal, number, 0, 0)),
            "exec_type": "trade",
            "transact_time": TIME,
            "last_qty": "10",
            "last_px": "100",
        }
        for number in range(50)
    ]
    await shards.publish("executions.paper.0", ones_)
    await turns(creator, follower)
    reads, read = [0], shards.journal.read

    async def counted(*args: Any, **options: Any) -> Any:
        reads[0] += 1
        return await read(*args, **options)

    shards.journal.read = counted  # type: ignore[method-assign]
    await shards.publish("executions.paper.0", ones_)
    await turns(creator, follower)
    assert reads[0] <= 4
    assert len(shards.events(FOLLOWER, ExecutionsApplied)) == 2


class Reader(JsonFormat):
    """Counts the bytes of executions that it reads."""

    read_bytes = 0

    def reports(self, subject: str, data: bytes) -> Iterator[Report]:
        self.read_bytes += len(data)
        return super().reports(subject, data)


async def test_a_look_up_reads_and_holds_only_a_little_of_the_messages_behind_it() -> None:
    """Else a turn reads and keeps up to a thousand messages of any size."""
    shards, creator, follower = await started()
    reader = Reader()
    shards.ports = shards.ports._replace(message_format=reader)
    follower = await shards.follower()
    plain = {"transact_time": TIME, "last_qty": "10", "last_px": "100"}
    order_ids = [str(OrderId(0, CauseKind.SIGNAL, 0, 1, number, 0, 0)) for number in (0, 1)]
    trades = [
        {**plain, "exec_id": "E", "order_id": order_id, "exec_type": "trade"}
        for order_id in order_ids
    ]
    news = [{**plain, "exec_id": "N", "order_id": order_ids[0], "exec_type": "new"}] * 2000
    size = len(msgspec.json.encode(news))
    await shards.publish("executions.paper.0", trades)
    await turns(creator, follower)
    reader.read_bytes = 0
    await shards.publish("executions.paper.0", trades)
    for _ in range(20):
        await shards.publish("executions.paper.0", news)
    await follower.turn()
    assert follower.lookup.is_reading
    assert reader.read_bytes < AHEAD_BYTES_MAX + 2 * size < 20 * size
    await turns(creator, follower, count=480)
    assert follower.state.cursors[Source.EXECUTIONS, 0].sequence == 22
    assert len(shards.events(FOLLOWER, ExecutionsApplied)) == 2
