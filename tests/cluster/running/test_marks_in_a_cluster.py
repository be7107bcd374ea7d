"""A whole cluster over NATS with two paper brokers: a mark of one does not move the other, and with
`marks.source` one of them marks for both (P11).
"""

import asyncio
from collections.abc import Awaitable, Callable
from fractions import Fraction
from pathlib import Path

import pytest

from cluster.config.roles import OPERATOR, broker_role
from cluster.history.store import opened_store
from cluster.history.whole import Journals, read_journals
from engine.history.followers import FollowerTables
from tests.cluster.running.asking import connected
from tests.cluster.running.market import CREATORS, Market
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
FOLLOWERS = {"alice": "nancy", "bob": "zoe"}


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
