"""Poison that really kills: hosts as processes on real servers, kept running by the shipped keeper.
The audit finds both sides whole.
"""

import asyncio
import itertools
import multiprocessing
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.errors import OperatingError
from actors.history_reader import FrameReader
from actors.host.host import Connected, Host, HostSpec
from actors.ports import Request
from actors.retry import retry_until_done
from actors.settings import ShardSettings
from actors.shard.progress import HostHeartbeat
from cluster.audit import AuditReport, audit
from cluster.config.options import SupervisionOptions
from cluster.history.store import JournalStore, stored_shards
from cluster.placement.hosts import HostKeeper
from cluster.placement.plan import PlacementPlan, with_hosts
from engine.journal.events.creator import FillApplied
from engine.journal.events.shard import InputQuarantined
from engine.journal.frame import ShardKey, ShardKind
from engine.values.units import format_time
from gateways.brokers.ledger.ledger import FILE_NAME
from gateways.brokers.paper.memory import MemoryPaperBroker
from gateways.brokers.paper.settings import FillSettings
from gateways.clock import WallClock
from gateways.connections import ConnectionOptions, connect
from gateways.nats.bus import NatsBus
from gateways.nats.connection import NatsConnection, connect_nats
from gateways.nats.journal import NatsJournal
from gateways.nats.streams import NatsStreams
from gateways.postgres.snapshots import PostgresConnectionOptions, open_postgres_snapshots
from tests.faults.adversarial.mortal_host import Mortal, main
from tests.gateways.conftest import make_streams, nats_options
from tests.servers import NatsServer, PostgresServer, own_nats_server, own_postgres_server

pytestmark = pytest.mark.real

__all__ = ["own_nats_server", "own_postgres_server"]

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.faults.adversarial.mortal_host", "pytest"])
"""Hosts are forked from a process that has read all code: a start takes no longer than it takes to
recover.
"""
SETTINGS = ShardSettings(creator_shards=1, follower_shards=2, snapshot_frames_every=5)
SUPERVISION = SupervisionOptions(
    heartbeat_missing_ms_max=30_000, start_s_max=120, restart_ms_max=500
)
WAIT_S_MAX = 180.0


class ProcessHandle:
    """A host in a process, as its keeper holds it."""

    def __init__(self, mortal: Mortal) -> None:
        self._process = PROCESSES.Process(
            target=main, args=(msgspec.json.encode(mortal),), daemon=True
        )
        self._process.start()

    async def started(self) -> None:
        """Wait until it is started, which it is when made."""

    async def ended(self) -> str:
        """Wait until the process is gone. Returns: how it ended."""
        while self._process.is_alive():  # noqa: ASYNC110 - the condition lies in another process
            await asyncio.sleep(0.02)
        return f"exit code {self._process.exitcode}"

    def ask_to_stop(self) -> None:
        """Ask it to end."""
        self._process.terminate()

    def kill(self) -> None:
        """End it."""
        self._process.kill()
        self._process.join(30)


class Paper:
    """The paper broker in the test's process; what it reports goes to the real stream, in order."""

    def __init__(self, streams: NatsStreams) -> None:
        self._streams = streams
        self._reports: asyncio.Queue[tuple[str, bytes, str]] = asyncio.Queue()
        self.broker = MemoryPaperBroker(FillSettings(), WallClock(), self._report, ledger_id="test")

    def _report(self, subject: str, data: bytes, *, message_id: str) -> None:
        self._reports.put_nowait((subject, data, message_id))

    async def publish(self) -> None:
        """Publish reports until cancelled."""
        while True:
            subject, data, message_id = await self._reports.get()
            publish = partial(self._streams.publish, subject, data, message_id=message_id)
            await retry_until_done(subject, publish)


class Mortals:
    """A creator host and a follower host as processes, a gateway in the test's own."""

    def __init__(self, connection: NatsConnection, options: ConnectionOptions) -> None:
        self._connection = connection
        self._options = options
        self._bus, self._streams = NatsBus(connection), NatsStreams(connection)
        self.journal = NatsJournal(connection)
        self.paper = Paper(self._streams)
        self.keeper = HostKeeper(
            lambda spec: ProcessHandle(Mortal(spec, options)),
            lambda kind, shards, incarnation: HostSpec(kind, shards, incarnation, SETTINGS),
            SUPERVISION,
            is_connected=lambda: connection.is_connected,
        )
        self._gateway = Host(HostSpec("gateway", (0,), "gateway-0", SETTINGS), self._connect)
        self._ids = itertools.count(1)

    async def _connect(self) -> Connected:
        return (await connect(self._options))._replace(brokers={0: ("paper", self.paper.broker)})

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run everything; at the end stop it in order."""

        def hear(request: Request) -> None:
            self.keeper.hear_host(msgspec.json.decode(request.data, type=HostHeartbeat))

        await self._bus.subscribe("hosts.*", hear)
        tasks = [
            asyncio.create_task(self.paper.publish()),
            asyncio.create_task(self._gateway.run()),
        ]
        plan = with_hosts(PlacementPlan(), "creator", [(0,)])
        self.keeper.place(with_hosts(plan, "follower", [(0, 1)]))
        try:
            async with asyncio.timeout(WAIT_S_MAX):
                await self.keeper.wait_live()
            yield
        finally:
            await self.keeper.stop()
            self._gateway.stop()
            await asyncio.wait([tasks[1]], timeout=30)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def command(self, subject: str, **body: Any) -> dict[str, Any]:
        """Send a command until it is answered, under one id."""
        data = msgspec.json.encode({"command_id": f"command-{next(self._ids)}", **body})
        async with asyncio.timeout(WAIT_S_MAX):
            while True:
                try:
                    return dict(
                        msgspec.json.decode(await self._bus.request(subject, data, timeout_s=5.0))
                    )
                except OperatingError:
                    await asyncio.sleep(0.05)

    async def fill(
        self, creator: str, symbol: str, side: str, quantity: str, exec_id: str = ""
    ) -> None:
        """Publish a fill."""
        number = next(self._ids)
        body = {
            "exec_id": exec_id or f"fill-{number}",
            "symbol": symbol,
            "side": side,
            "last_qty": quantity,
            "last_px": "100",
            "transact_time": format_time(WallClock().now_ns()),
        }
        await self.publish(f"fills.paper.{creator}", body)

    async def publish(self, subject: str, body: Any) -> None:
        """Publish a message as JSON."""
        await self._streams.publish(
            subject, msgspec.json.encode(body), message_id=f"message-{next(self._ids)}"
        )

    async def events(self, key: ShardKey, event_type: type) -> list[Any]:
        """Read every event of a type in a shard's journal."""
        reader, found = FrameReader(self.journal, key), list[Any]()
        while page := await reader.page():
            found += [
                event for frame in page for event in frame.events if isinstance(event, event_type)
            ]
        return found

    async def audit(self, directory: Path) -> AuditReport:
        """Audit both sides as they are, claiming that nothing is under way."""
        path = directory / "paper"
        path.mkdir(exist_ok=True)
        (path / FILE_NAME).write_bytes(bytes(self.paper.broker.ledger.data))
        snapshots = await open_postgres_snapshots(self._options.postgres)
        store = JournalStore(
            journal=self.journal,
            snapshots=snapshots,
            bus=None,
            shards=await stored_shards(self._connection),
            ledgers={"paper": path},
            brokers=("paper",),
            streams=NatsStreams(self._connection),
        )
        try:
            return await audit(store, is_drained=True)
        finally:
            await snapshots.close()


async def until(is_true: Callable[[], Any], what: str) -> None:
    """Wait for a condition that is asked of servers."""
    end_s = asyncio.get_running_loop().time() + WAIT_S_MAX
    while not await is_true():
        assert asyncio.get_running_loop().time() < end_s, (
            f"expected {what} within {WAIT_S_MAX:.0f} s"
        )
        await asyncio.sleep(0.1)


CREATOR, FOLLOWER = ShardKey(ShardKind.CREATOR, 0), ShardKey(ShardKind.FOLLOWER, 0)


async def test_an_input_that_kills_processes_is_quarantined_and_they_go_on(
    own_nats_server: NatsServer, own_postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """P1 to P8 by the audit: a fill kills the creators' process, executions that of the followers,
    each time they are decided.
    """
    options = ConnectionOptions(
        nats=nats_options(own_nats_server),
        postgres=PostgresConnectionOptions(dsn=own_postgres_server.dsn),
        brokers=("paper",),
    )
    connection = await connect_nats(options.nats)
    await make_streams(connection)
    mortals = Mortals(connection, options)
    async with mortals.running():
        for creator in ("anna", "bert"):
            await mortals.command(f"commands.creator.{creator}", type="open_creator", cash="100000")
        for number in range(6):
            subject = f"commands.account.account-{number}"
            await mortals.command(subject, type="open_account")
            for creator in ("anna", "bert"):
                await mortals.command(subject, type="follow", creator_id=creator, cash="1000")
        await mortals.fill("anna", "AAA", "buy", "100")
        await mortals.fill("anna", "AAA", "buy", "1", "poison-1")
        await mortals.publish(
            "executions.paper.0", {"exec_id": "poison-2", "text": "not even an execution"}
        )
        await mortals.fill("bert", "BBB", "buy", "100")
        await mortals.fill("anna", "AAA", "sell", "50")

        async def are_quarantined() -> bool:
            return all([await mortals.events(key, InputQuarantined) for key in (CREATOR, FOLLOWER)])

        await until(are_quarantined, "both to be quarantined")
        (quarantined,) = await mortals.events(CREATOR, InputQuarantined)
        assert (quarantined.tries, quarantined.subject) == (2, "fills.paper.anna")
        (quarantined,) = await mortals.events(FOLLOWER, InputQuarantined)
        assert (quarantined.tries, quarantined.subject) == (2, "executions.paper.0")
        restarts = {host.slot.kind: host.restarts for host in mortals.keeper.hosts}
        assert 2 < restarts["creator"] <= SETTINGS.poison_crashes + 1
        assert 2 < restarts["follower"] <= SETTINGS.poison_crashes + 1
        answer = await mortals.command(
            "commands.creator.anna", type="resume_creator", action="void"
        )
        assert (answer["ok"], answer["parked"]) == (True, 1)
        await mortals.fill("anna", "AAA", "buy", "10")

        async def are_applied() -> bool:
            return len(await mortals.events(CREATOR, FillApplied)) == 4

        await until(are_applied, "every other fill to be applied")

        async def is_whole() -> bool:
            return (await mortals.audit(tmp_path)).passed

        await until(is_whole, "everything to be copied, executed and applied")
    report = await mortals.audit(tmp_path)
    await connection.close()
    assert report.passed, "\n".join(report.lines())
    assert report.orders == 6 * 4
    assert sum("quarantined 1 inputs" in note for note in report.notes) == 2
