"""Shards that a running host is given, and shards that it gives up: nothing is lost, nothing is
decided twice, and the neighbours go on.
"""

import asyncio
from pathlib import Path

import msgspec

from actors.host.host import Host
from actors.shard.recovery import Phase
from cluster.audit import audit
from engine.journal.chain import Chain
from engine.journal.cursors import NO_HASH
from engine.journal.events.shard import OwnerFenced
from engine.journal.frame import FrameHeader, ShardKey, ShardKind, decode_frame, encode_frame
from gateways.brokers.paper.settings import FillSettings
from gateways.memory.server import MemoryServer
from tests.audit.memory_cluster import MemoryCluster, memory_cluster, memory_store

PLACES = (("creator", (0,)), ("follower", (0, 1)), ("follower", ()), ("gateway", (0,)))
KEYS = [ShardKey(ShardKind.FOLLOWER, shard) for shard in (0, 1)]
WAIT_S_MAX = 10.0


def last_number(server: MemoryServer, key: ShardKey) -> int:
    """Return the number of the last frame that counts."""
    chain = Chain(key)
    for message in server.stream("JOURNAL_FOLLOWER").messages:
        if message.subject == key.subject:
            chain.accept(message.data)
    return chain.number


def owners(server: MemoryServer, key: ShardKey) -> list[str]:
    """Return the names of a shard's owners, in order."""
    return [
        event.incarnation
        for message in server.stream("JOURNAL_FOLLOWER").messages
        if message.subject == key.subject
        for event in decode_frame(message.data)[1]
        if isinstance(event, OwnerFenced)
    ]


async def live(host: Host, *shards: int) -> None:
    """Wait until a host's shards are live."""
    async with asyncio.timeout(WAIT_S_MAX):
        while not all(  # noqa: ASYNC110 - phases are told every 200 ms only
            shard in host.actors and host.actors[shard].core.phase is Phase.LIVE for shard in shards
        ):
            await asyncio.sleep(0.001)


async def opened(cluster: MemoryCluster) -> list[str]:
    """Let one creator be followed by accounts in both shards. Returns: the accounts."""
    await cluster.command("commands.creator.anna", "open_creator", cash="100000")
    accounts = [f"account-{number}" for number in range(6)]
    for account in accounts:
        await cluster.command(f"commands.account.{account}", "open_account")
        await cluster.follow(account, "anna", "1000")
    return accounts


async def test_a_shard_is_released_once_its_last_frame_is_durable_and_its_neighbour_goes_on() -> (
    None
):
    async with memory_cluster(places=PLACES) as cluster:
        host = cluster.hosts[1]
        await opened(cluster)
        await cluster.fill("anna", "AAA", "buy", "100", "50")
        released = host.actors[0]
        ended = await host.release([0])
        assert ended == {0: Phase.STOPPED}
        assert released.core.committer.durable_number == last_number(cluster.server, KEYS[0])
        assert list(host.actors) == [1]
        before = [last_number(cluster.server, key) for key in KEYS]
        await cluster.fill("anna", "AAA", "buy", "100", "50")
        after = [last_number(cluster.server, key) for key in KEYS]
        assert after[0] == before[0]
        assert after[1] > before[1]
        await host.assign([0])


async def test_shards_that_move_between_hosts_lose_nothing(tmp_path: Path) -> None:
    async with memory_cluster(FillSettings(partial_fill_slices=2), places=PLACES) as cluster:
        first, second = cluster.hosts[1:3]
        await opened(cluster)
        for number in range(6):
            shard = number % 2
            source, target = (first, second) if shard in first.actors else (second, first)
            # Fills come while the shard is on its way.
            trade = asyncio.create_task(cluster.fill("anna", "AAA", "buy", "100", "50"))
            await source.release([shard])
            await target.assign([shard])
            await live(target, shard)
            await trade
        await cluster.pass_time(minutes=1)
        ledger = bytes(cluster.broker.ledger.data)
        server = cluster.server
    assert [len(owners(server, key)) for key in KEYS] == [4, 4]
    report = await audit(memory_store(server, ledger, tmp_path), is_drained=True)
    assert report.passed, "\n".join(report.lines())


async def test_commands_for_shards_on_their_way_are_answered_by_their_next_owner() -> None:
    async with memory_cluster(places=PLACES) as cluster:
        first, second = cluster.hosts[1:3]
        accounts = await opened(cluster)
        await first.release([0, 1])
        commands = [
            {"command_id": f"end-{account}", "type": "unfollow", "account_id": account}
            | {"creator_id": "anna"}
            for account in accounts
        ]
        asked = asyncio.create_task(
            cluster.bus.request("commands.bulk", msgspec.json.encode(commands), timeout_s=5.0)
        )
        await asyncio.sleep(0)
        assert not asked.done()
        await second.assign([0, 1])
        answers = msgspec.json.decode(await asked)
        assert [answer["ok"] for answer in answers] == [True] * len(accounts)


async def test_a_shard_that_comes_back_has_an_owner_with_another_name() -> None:
    async with memory_cluster(places=PLACES) as cluster:
        host = cluster.hosts[1]
        for _ in range(2):
            await host.release([0])
            await host.assign([0])
            await live(host, 0)
        assert owners(cluster.server, KEYS[0]) == ["follower-1", "follower-1-2", "follower-1-3"]
        assert owners(cluster.server, KEYS[1]) == ["follower-1"]


async def test_a_shard_that_the_host_has_is_not_started_again() -> None:
    async with memory_cluster(places=PLACES) as cluster:
        host = cluster.hosts[1]
        await live(host, 0, 1)
        actors = host.actors
        await host.assign([0, 1])
        assert host.actors == actors
        assert await host.release([7]) == {}


async def test_a_host_without_shards_waits_and_reports_it() -> None:
    async with memory_cluster(places=PLACES) as cluster:
        first, second = cluster.hosts[1:3]
        heard: dict[str, dict[str, str]] = {}

        def hear(request: object) -> None:
            told = msgspec.json.decode(request.data)  # type: ignore[attr-defined]
            heard[told["incarnation"]] = told["shards"]

        await cluster.bus.subscribe("hosts.*", hear)
        await first.release([0, 1])
        heard.clear()
        async with asyncio.timeout(WAIT_S_MAX):
            while len(heard) < len(PLACES):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert heard["follower-1"] == heard["follower-2"] == {}
        await second.assign([0, 1])
        await live(second, 0, 1)


async def test_a_host_that_is_stopped_while_it_releases_a_shard_ends() -> None:
    async with memory_cluster(places=PLACES) as cluster:
        host = cluster.hosts[1]
        await live(host, 0, 1)
        releasing = asyncio.create_task(host.release([0]))
        await asyncio.sleep(0)
        host.stop()
        async with asyncio.timeout(WAIT_S_MAX):
            assert await releasing == {0: Phase.STOPPED}


async def test_a_shard_that_has_failed_can_be_released_and_taken_again() -> None:
    async with memory_cluster(places=PLACES) as cluster:
        host = cluster.hosts[1]
        await live(host, 0, 1)
        journal = cluster.server.stream("JOURNAL_CREATOR")
        whole = list(journal.messages)
        creator = ShardKey(ShardKind.CREATOR, 0)
        gap = FrameHeader(creator, 1, 99, 0, NO_HASH, ())
        journal.store(creator.subject, encode_frame(gap, []), "gap")
        shards = {"follower/0", "follower/1"}
        async with asyncio.timeout(WAIT_S_MAX):
            while shards & {task.get_name() for task in asyncio.all_tasks()}:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        journal.messages[:] = whole
        assert await host.release([0, 1]) == {0: Phase.FAILED, 1: Phase.FAILED}
        assert host.actors == {}
        await host.assign([0, 1])
        await live(host, 0, 1)
