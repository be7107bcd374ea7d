"""A whole cluster in memory: the real actors, a paper broker, no process and no server; and its
journals as an audit reads them.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from actors.host.host import Connected, Host, HostSpec
from actors.ports import Broker, Ports
from actors.settings import ShardSettings
from cluster.history.store import JournalStore
from engine.journal.frame import ShardKey, ShardKind
from engine.messages.blocks import decode_block
from engine.values.units import format_time
from gateways.brokers.ledger.ledger import FILE_NAME
from gateways.brokers.paper.memory import MemoryPaperBroker
from gateways.brokers.paper.settings import FillSettings
from gateways.json.format import JsonFormat
from gateways.memory.bus import MemoryBus
from gateways.memory.journal import MemoryJournal
from gateways.memory.server import MemoryServer
from gateways.memory.snapshots import MemorySnapshots
from gateways.memory.streams import MemoryStreams
from tests.actors.memory_shards import Clock, memory_broker, memory_server

PLACES = (("creator", (0,)), ("follower", (0,)), ("follower", (1,)), ("gateway", (0,)))
FOLLOWER_SHARDS = 2
SETTINGS = ShardSettings(
    creator_shards=1,
    follower_shards=FOLLOWER_SHARDS,
    part_rows=4,
    snapshot_frames_every=7,
    snapshot_seconds_every=600.0,
)


class ManualClock(Clock):
    """Time that moves when told to, and by a little with each question."""

    def now_ns(self) -> int:
        self.time_ns += 1000
        return self.time_ns


class MemoryCluster:
    """One creator shard, two follower shards, one gateway, one paper broker."""

    def __init__(
        self,
        server: MemoryServer,
        broker: MemoryPaperBroker,
        clock: ManualClock,
        hosts: Sequence[Host],
    ) -> None:
        self.server = server
        self.broker = broker
        self.clock = clock
        self.hosts = hosts
        self.bus = MemoryBus(server)
        self._streams = MemoryStreams(server)
        self._ids = itertools.count(1)

    async def command(self, subject: str, kind: str, **fields: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        body = {"command_id": f"command-{next(self._ids)}", "type": kind, **fields}
        answer = await self.bus.request(subject, msgspec.json.encode(body), timeout_s=5.0)
        decoded: dict[str, Any] = msgspec.json.decode(answer)
        assert decoded["ok"], decoded
        return decoded

    async def follow(self, account: str, creator: str, cash: str, **fields: Any) -> None:
        """Subscribe an account."""
        await self.command(
            f"commands.account.{account}", "follow", creator_id=creator, cash=cash, **fields
        )

    async def fill(self, creator: str, symbol: str, side: str, quantity: str, price: str) -> str:
        """Publish a fill, and wait until nothing is under way. Returns: its id."""
        number = next(self._ids)
        body = {
            "exec_id": f"fill-{number}",
            "creator_id": creator,
            "symbol": symbol,
            "side": side,
            "last_qty": quantity,
            "last_px": price,
            "transact_time": format_time(self.clock.time_ns),
        }
        subject = f"fills.paper.{creator}"
        await self._streams.publish(subject, msgspec.json.encode(body), message_id=f"fill-{number}")
        await self.drained()
        return f"fill-{number}"

    async def correct_fill(
        self,
        exec_ref_id: str,
        creator: str,
        symbol: str,
        side: str,
        *,
        exec_type: str,
        **fields: str,
    ) -> None:
        """Publish a trade cancel or correct of a fill, and wait until nothing is under way."""
        name = f"correction-{next(self._ids)}"
        body = {
            "exec_id": name,
            "symbol": symbol,
            "side": side,
            "transact_time": format_time(self.clock.time_ns),
            "exec_type": exec_type,
            "exec_ref_id": exec_ref_id,
            **fields,
        }
        await self._streams.publish(
            f"fills.paper.{creator}", msgspec.json.encode(body), message_id=name
        )
        await self.drained()

    def traded(self) -> list[str]:
        """Return the executions that the broker has reported, in order."""
        found = []
        for message in self.server.stream("EXECUTIONS").messages:
            for section in decode_block(message.data):
                found += [f"{section.prefix}{number}" for number in section.numbers.tolist()]
        return found

    async def report(self, subject: str, *executions: dict[str, str]) -> None:
        """Publish executions as an operator does, and wait until nothing is under way."""
        name = f"report-{next(self._ids)}"
        await self._streams.publish(subject, msgspec.json.encode(executions), message_id=name)
        await self.drained()

    async def mark(self, symbol: str, price: str) -> None:
        """Publish a mark, which no follower shard has anything to do about, and wait until nothing
        is under way.
        """
        body = [{"symbol": symbol, "px": price, "time": format_time(self.clock.time_ns)}]
        await self._streams.publish(
            "marks.paper", msgspec.json.encode(body), message_id=f"mark-{next(self._ids)}"
        )
        await self.drained()

    async def pass_ms(self, ms: int) -> None:
        """Let a little time pass, and what the broker has due happen."""
        self.clock.time_ns += ms * 10**6
        self.broker.advance()
        await self.drained()

    async def pass_time(self, *, minutes: int) -> None:
        """Let time pass, a little more than a minute each, and everything happen that it brings."""
        for _ in range(minutes):
            self.clock.time_ns += 61 * 10**9
            self.broker.advance()
            await self.drained()

    async def drained(self) -> None:
        """Wait until nothing moves: no journal grows, nothing is open."""
        still, before = 0, -1
        while still < 8:
            await asyncio.sleep(0.01)
            now = sum(len(stream.messages) for stream in self.server.streams.values())
            still = still + 1 if now == before else 0
            before = now


@asynccontextmanager
async def memory_cluster(
    fills: FillSettings | None = None,
    *,
    settings: ShardSettings = SETTINGS,
    way: Callable[[Broker], Broker] = lambda broker: broker,
    places: Sequence[tuple[str, tuple[int, ...]]] = PLACES,
) -> AsyncIterator[MemoryCluster]:
    """Run a cluster whose gateway reaches its broker by a way, with hosts of the given kinds and
    shards. At the end every shard stops and takes its last snapshot.
    """
    server, clock = memory_server(), ManualClock()
    broker = memory_broker(server, clock, fills or FillSettings())
    ports = Ports(
        MemoryJournal(server),
        MemoryStreams(server),
        MemoryBus(server),
        MemorySnapshots(server),
        JsonFormat(),
        clock,
    )
    hosts = [
        Host(HostSpec(kind, shards, f"{kind}-{number}", settings), _connect(ports, way(broker)))
        for number, (kind, shards) in enumerate(places)
    ]
    runs = [asyncio.create_task(host.run()) for host in hosts]
    cluster = MemoryCluster(server, broker, clock, hosts)
    try:
        await cluster.drained()
        yield cluster
        await cluster.drained()
    finally:
        for host in hosts:
            host.stop()
        ended = await asyncio.gather(*runs)
    assert not [why for why in ended if "failed" in why], ended


def _connect(ports: Ports, broker: Broker) -> Callable[[], Awaitable[Connected]]:
    async def close() -> None:
        return None

    async def connect() -> Connected:
        return Connected(ports, {0: ("paper", broker)}, close)

    return connect


def memory_store(
    server: MemoryServer, ledger: bytes, directory: Path, *, is_running: bool = False
) -> JournalStore:
    """Show journals and a ledger to an audit; the ledger is written below a directory."""
    path = directory / "paper"
    path.mkdir(parents=True, exist_ok=True)
    (path / FILE_NAME).write_bytes(ledger)
    shards = [
        ShardKey(kind, int(subject.rpartition(".")[2]))
        for kind in ShardKind
        for subject in server.stream(f"JOURNAL_{kind.name}").last_of_subject
    ]
    return JournalStore(
        journal=MemoryJournal(server),
        snapshots=MemorySnapshots(server),
        bus=MemoryBus(server) if is_running else None,
        shards=tuple(sorted(shards)),
        ledgers={"paper": path},
        brokers=("paper",),
        streams=MemoryStreams(server),
    )


async def story(cluster: MemoryCluster) -> None:
    """Let twelve accounts follow two creators through buys, sells, shorts, a flat exit, an unfollow
    and a second follow.
    """
    for creator in ("anna", "bert"):
        await cluster.command(f"commands.creator.{creator}", "open_creator", cash="100000")
    for number in range(12):
        account = f"account-{number}"
        await cluster.command(f"commands.account.{account}", "open_account")
        limits: dict[str, Any] = {"allow_short": number % 2 == 0}
        if number % 4 == 3:
            limits["max_order_notional"] = "250"
        mode = {"mode": "multiplier", "ratio": "0.05"} if number % 3 == 2 else {}
        await cluster.follow(account, "anna", f"{500 + 137 * number}.000001", limits=limits, **mode)
        if number % 2:
            await cluster.follow(account, "bert", "900")
    await cluster.fill("anna", "AAA", "buy", "200", "101.25")
    await cluster.fill("bert", "BBB", "buy", "70", "33.333333")
    await cluster.fill("anna", "AAA", "sell", "50", "99.999999")
    await cluster.fill("anna", "CCC", "buy", "1000", "7.77")
    await cluster.command("commands.account.account-4", "unfollow", creator_id="anna")
    await cluster.fill("anna", "AAA", "sell", "400", "98.5")
    await cluster.pass_time(minutes=3)
    await cluster.follow("account-4", "anna", "777.7")
    await cluster.fill("anna", "CCC", "sell", "1000", "7.9")
    await cluster.fill("bert", "BBB", "sell", "70", "30.1")
    await cluster.fill("anna", "AAA", "buy", "10", "97")
    await cluster.mark("CCC", "7.95")
