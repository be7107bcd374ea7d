"""A whole cluster in memory whose broker answers order blocks with junk. Whatever it answers, no
shard crashes. After noise, all is as without it.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from actors.broker_gateway.actor import BrokerGatewayShardActor
from actors.follower.actor import FollowerShardActor
from actors.ports import Broker
from actors.settings import OrderIds
from cluster.audit import AuditReport, audit
from engine.journal.frame import decode_header
from gateways.brokers.paper.memory import MemoryPaperBroker
from gateways.brokers.paper.settings import FillSettings
from tests.audit.memory_cluster import SETTINGS, MemoryCluster, memory_cluster, memory_store
from tests.faults.fuzz.answering import JunkAnswers

ACCOUNTS = 6
ANSWERED_S_MAX = 600.0
FILLS = (
    ("AAA", "buy", "100"),
    ("BBB", "buy", "50"),
    ("AAA", "sell", "30"),
    ("BBB", "sell", "50"),
    ("AAA", "buy", "10"),
)


class Answered(NamedTuple):
    """What a run left. A gateway that crashed has had several owners."""

    owners: int
    junk_count: int
    holdings: list[Any]
    report: AuditReport | None


async def answered(seed: int, order_ids: OrderIds, directory: Path, *, junk: str) -> Answered:
    """Let a broker answer `noise`, `lies` or in earnest while orders are sent, and then in earnest.
    Lies are not audited. A host that ends fails here.
    """
    ways: list[JunkAnswers] = []

    def way(broker: Broker) -> Broker:
        assert isinstance(broker, MemoryPaperBroker)
        ways.append(JunkAnswers(broker, seed, lies=junk == "lies"))
        ways[0].is_junk = bool(junk)
        return ways[0]

    settings = msgspec.structs.replace(SETTINGS, order_ids={"paper": order_ids})
    fills = FillSettings(order_ids=order_ids.value)
    async with memory_cluster(fills, settings=settings, way=way) as cluster:
        await _trade(cluster, waits=junk != "lies")
        ways[0].is_junk = False
        await cluster.pass_time(minutes=2)
        holdings = list(_holdings(cluster))
    report = None
    if junk != "lies":
        store = memory_store(cluster.server, bytes(cluster.broker.ledger.data), directory)
        report = await audit(store, is_drained=True)
    frames = cluster.server.stream("JOURNAL_GATEWAY").messages
    owners = len({decode_header(message.data)[0].epoch for message in frames})
    return Answered(owners, ways[0].junk_count, holdings, report)


async def _trade(cluster: MemoryCluster, *, waits: bool) -> None:
    await cluster.command("commands.creator.anna", "open_creator", cash="100000")
    for number in range(ACCOUNTS):
        await cluster.command(f"commands.account.account-{number}", "open_account")
        await cluster.follow(f"account-{number}", "anna", f"{500 + number}")
    for symbol, side, quantity in FILLS:
        await cluster.fill("anna", symbol, side, quantity, "10")
        if waits:
            await _until_answered(cluster)
        else:
            await cluster.pass_time(minutes=1)


async def _until_answered(cluster: MemoryCluster) -> None:
    """Wait until the broker has answered everything, however often it is asked."""
    loop = asyncio.get_running_loop()
    end_s = loop.time() + ANSWERED_S_MAX
    (host,) = [each for each in cluster.hosts if each.spec.kind == "gateway"]
    (gateway,) = host.actors.values()
    assert isinstance(gateway, BrokerGatewayShardActor)
    while gateway.queue.orders_count or gateway.sender.outstanding_count:
        assert loop.time() < end_s, "expected the broker to be asked until it answered"
        await cluster.drained()


def _holdings(cluster: MemoryCluster) -> Iterator[Any]:
    """Yield targets, positions and cash of every book."""
    for host in cluster.hosts:
        for actor in host.actors.values():
            if isinstance(actor, FollowerShardActor):
                for book in actor.state.books:
                    yield [slot.values.tolist() for slot in book.slots]
                    yield book.subscriptions["cash"].tolist()
