"""A whole cluster over NATS with two paper brokers: a mark of one does not move the other, and with
`marks.source` one of them marks for both (P11).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cluster.audit import AuditReport, audit_data
from cluster.config.roles import OPERATOR, broker_role
from cluster.history.store import opened_store
from cluster.history.whole import Journals, read_journals
from engine.history.followers import FollowerTables
from gateways.nats.connection import NatsConnection
from gateways.nats.streams import NatsStreams
from tests.cluster.running.asking import connected, until
from tests.faults.kill.running import RunningCluster

pytestmark = pytest.mark.real

PER_BROKER = """
[cluster]
follower_shards = 1
follower_hosts = 1
[brokers.paper]
[brokers.other]
"""
TRUSTING_PAPER = f'{PER_BROKER}[marks]\nsource = "paper"\n'
CREATORS = {"nancy": "paper", "zoe": "other"}
FOLLOWERS = {"alice": "nancy", "bob": "zoe"}


class Market:
    """An operator and two brokers at one cluster."""

    def __init__(self, data: Path, operator: NatsConnection, **brokers: NatsConnection) -> None:
        self._data = data
        self._operator = operator
        self._streams = {name: NatsStreams(each) for name, each in brokers.items()}
        self._messages = 0

    async def command(self, subject: str, **body: str) -> None:
        """Send a command until it is done."""
        self._messages += 1
        data = msgspec.json.encode({"command_id": f"c-{self._messages}", **body})

        async def ask() -> Any:
            answer = await self._operator.request(subject, data, deadline_s=10.0)
            return msgspec.json.decode(answer.data)

        await until(ask, lambda answer: answer["ok"])

    async def fill(self, creator: str, symbol: str, quantity: str, price: str) -> None:
        """Publish a creator's fill."""
        broker = CREATORS[creator]
        body = {"symbol": symbol, "side": "buy", "last_qty": quantity, "last_px": price}
        await self._publish(broker, f"fills.{broker}.{creator}", body, "transact_time", "exec_id")

    async def mark(self, broker: str, symbol: str, price: str) -> None:
        """Publish a mark as a broker."""
        await self._publish(broker, f"marks.{broker}", {"symbol": symbol, "px": price}, "time")

    async def _publish(
        self, broker: str, subject: str, body: dict[str, str], time_field: str, id_field: str = ""
    ) -> None:
        name = f"{subject}-{time.time_ns()}"
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        body = {**body, time_field: now} | ({id_field: name.split("-")[1]} if id_field else {})
        await self._streams[broker].publish(subject, msgspec.json.encode([body]), message_id=name)

    async def settled(self, decided: int) -> None:
        """Wait until so many signals are decided and executed, and audit the running cluster."""

        async def audited() -> AuditReport:
            return await audit_data(self._data)

        report = await until(
            audited,
            lambda report: (
                report["P2"].counts.get("dispositions") == decided
                and report["P8"].counts.get("applied") == decided
            ),
        )
        assert report.passed, "\n".join(report.lines())


async def at_brokers(market: Market) -> None:
    """Let each creator buy at its broker, and one broker say a tenth of the price."""
    for creator, broker in CREATORS.items():
        await market.command(
            f"commands.creator.{creator}", type="open_creator", cash="100000", broker=broker
        )
        await market.fill(creator, "JPM", "50", "100")
    for account, creator in FOLLOWERS.items():
        subject = f"commands.account.{account}"
        await market.command(subject, type="open_account", broker=CREATORS[creator])
        await market.command(subject, type="follow", creator_id=creator, cash="10000")
    await market.mark("other", "JPM", "10")
    for creator in CREATORS:
        await market.fill(creator, "KO", "20", "50")
    await market.settled(2)


async def at_a_trusted_source(market: Market) -> None:
    """Let both brokers mark an instrument, of whom one is trusted."""
    await market.mark("paper", "JPM", "200")
    await market.mark("other", "JPM", "1")
    for creator in CREATORS:
        await market.fill(creator, "PEP", "21", "50")
    await market.settled(4)


def run(data: Path, config: str, story: Callable[[Market], Awaitable[None]]) -> None:
    """Run a cluster with a configuration and tell it a story."""
    path = data.with_name("lockstep.toml")
    path.write_text(config)
    cluster = RunningCluster(data, path)

    async def tell() -> None:
        names = (OPERATOR, broker_role("paper"), broker_role("other"))
        operator, paper, other = [await connected(data, name) for name in names]
        try:
            await story(Market(data, operator, paper=paper, other=other))
        finally:
            for connection in (operator, paper, other):
                await connection.close()

    try:
        cluster.up()
        asyncio.run(tell())
    finally:
        cluster.down()


async def journals(data: Path) -> Journals:
    async with opened_store(data) as store:
        return await read_journals(store)


def targets(tables: FollowerTables) -> dict[tuple[str, str], int]:
    """Read what each account should hold of what was traded after it followed."""
    return {
        (
            tables.accounts[int(book.subscriptions["account"][0])],
            tables.symbols[book.creator_shard, slot.instrument],
        ): int(slot.target[0])
        for book in tables.state.books
        for slot in book.slots
    }


def test_a_brokers_mark_does_not_move_another_broker_unless_it_is_trusted(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    data = tmp_path / "data"
    run(data, PER_BROKER, at_brokers)
    run(data, TRUSTING_PAPER, at_a_trusted_source)
    found = asyncio.run(journals(data))
    # nancy has 95,000 + 50 * 100, zoe 95,000 + 50 * 10; then both have 95,000 + 50 * 200.
    zoe = Fraction(20 * 10**8 * 10_000, 95_500)
    assert targets(found.followers[0]) == {
        ("alice", "KO"): 2 * 10**8,
        ("bob", "KO"): int(zoe),
        ("alice", "PEP"): 2 * 10**8,
        ("bob", "PEP"): 2 * 10**8,
    }
    assert found.creators[0].refused_count == 1, "the mark of the broker that is not trusted"
