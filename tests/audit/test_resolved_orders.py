"""The audit tells orders that an operator resolved apart from those that a broker reported on, and
names them (P3, P7, P8).
"""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from actors.ports import Broker
from engine.journal.events.orders import (
    RESOLVED_PREFIX,
    ExecutionsApplied,
    OrderResolved,
    SignalDecided,
)
from engine.journal.frame import decode_frame
from engine.messages.blocks import (
    BlockAnswered,
    OrdersSubmitted,
    decode_block,
    encode_block,
)
from gateways.brokers.paper.settings import FillSettings
from tests.audit.memory_cluster import MemoryCluster, memory_cluster
from tests.audit.planting import FOLLOWERS, Recording

REPORTED_LATE = FillSettings(fill_delay_ms=1_000)


class ForgettingEntries:
    """Takes orders that buy, answers them, and forgets them before they are placed."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def submit(self, block: bytes) -> bytes:
        sections = decode_block(block)
        forgotten = [
            each for each in sections if isinstance(each, OrdersSubmitted) and each.side > 0
        ]
        kept = [each for each in sections if each not in forgotten]
        answer = await self._broker.submit(encode_block(*kept))
        answered, *stated = decode_block(answer)
        assert isinstance(answered, BlockAnswered)
        count = sum(len(each.subscriptions) for each in forgotten)
        return encode_block(replace(answered, accepted=answered.accepted + count), *stated)


async def followed(cluster: MemoryCluster) -> None:
    await cluster.command("commands.creator.anna", "open_creator", cash="100000")
    await cluster.command("commands.account.account-0", "open_account")
    await cluster.follow("account-0", "anna", "900", mode="multiplier", ratio="0.01")


def last_order(cluster: MemoryCluster) -> str:
    """Return the id of the order that the one subscription placed last."""
    found = ""
    for key in FOLLOWERS:
        for message in recording_of(cluster).frames(key):
            for event in decode_frame(message.data)[1]:
                if isinstance(event, SignalDecided) and event.units.any():
                    found = str(event.key.order_id(key.shard, int(event.subscriptions[0])))
    return found


def letters(cluster: MemoryCluster) -> list[dict[str, Any]]:
    messages = cluster.server.stream("DEADLETTER").messages
    return [msgspec.json.decode(message.data) for message in messages]


async def resolved(cluster: MemoryCluster, order: str, **fields: str) -> None:
    await cluster.command(
        "commands.account.account-0", "resolve_order", order_id=order, text="as told", **fields
    )
    await cluster.drained()


def recording_of(cluster: MemoryCluster) -> Recording:
    return Recording(cluster.server, bytes(cluster.broker.ledger.data))


async def sold_out(cluster: MemoryCluster) -> None:
    """Let anna sell everything, and the broker answer what it has."""
    await cluster.fill("anna", "AAA", "sell", "200", "101")


@pytest.mark.parametrize("outcome", ["canceled", "filled"])
async def test_an_order_that_the_broker_forgot_is_told_of_then_resolved_and_named(
    tmp_path: Path, outcome: str
) -> None:
    async with memory_cluster(way=ForgettingEntries) as cluster:
        await followed(cluster)
        await cluster.fill("anna", "AAA", "buy", "200", "101")
        order = last_order(cluster)
        await sold_out(cluster)
        await cluster.pass_time(minutes=3)
        (letter,) = letters(cluster)
        assert (letter["reason"], letter["order_ids"]) == ("order_unanswered", [order])
        assert cluster.traded() == [], "the exit waits"
        traded = {"last_qty": "2", "last_px": "101"} if outcome == "filled" else {}
        await resolved(cluster, order, outcome=outcome, **traded)
        # The exit of what the operator said was bought is at the broker, which knows no entry.
        assert len(cluster.traded()) == (1 if outcome == "filled" else 0)
    report = await recording_of(cluster).audit(tmp_path)
    assert report.passed, "\n".join(report.lines())
    assert report["P8"].counts["resolved"] == 1
    (note,) = report.notes
    assert f"order {order} of account account-0" in note and "(as told)" in note


@pytest.mark.parametrize(("price", "is_equal"), [("101", True), ("100", False)])
async def test_a_trade_that_the_broker_reports_after_an_operator_must_be_equal(
    tmp_path: Path, price: str, *, is_equal: bool
) -> None:
    async with memory_cluster(REPORTED_LATE) as cluster:
        await followed(cluster)
        await cluster.fill("anna", "AAA", "buy", "200", "101")
        traded = {"last_qty": "2", "last_px": price}
        await resolved(cluster, last_order(cluster), outcome="filled", **traded)
        await cluster.pass_ms(2_000)
        assert len(cluster.traded()) == 1
    report = await recording_of(cluster).audit(tmp_path)
    assert report.passed == is_equal, "\n".join(report.lines())
    if is_equal:
        assert report["P8"].counts["of_resolved"] == 1
    else:
        assert "expected it applied once, found it nowhere" in report["P8"].offender


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (OrderResolved, "expected an operator's command for it, found none"),
        (ExecutionsApplied, "expected its execution in the journal, found none"),
    ],
)
async def test_p8_an_operators_word_and_its_execution_stand_for_each_other(
    tmp_path: Path, kind: type, text: str
) -> None:
    async with memory_cluster(way=ForgettingEntries) as cluster:
        await followed(cluster)
        await cluster.fill("anna", "AAA", "buy", "200", "101")
        await resolved(cluster, last_order(cluster), outcome="canceled")
    recording = recording_of(cluster)
    recording.change_event(
        kind,
        lambda event: [],
        lambda event: getattr(event, "prefix", RESOLVED_PREFIX) == RESOLVED_PREFIX,
    )
    report = await recording.audit(tmp_path)
    assert not report["P8"].passed
    assert text in report["P8"].offender
