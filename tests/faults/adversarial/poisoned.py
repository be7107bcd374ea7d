"""A whole cluster in memory in which some inputs are poison (`deadly`).

A host that ends is started again under a new name, as the supervisor does.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from actors.errors import OperatingError
from actors.host.host import Connected, Host, HostSpec
from actors.ports import Ports
from actors.settings import ShardSettings
from cluster.audit import AuditReport, audit
from engine.follower.shard import FollowerShard
from engine.journal.events.shard import InputQuarantined
from engine.journal.frame import ShardKind, decode_frame
from engine.values.copy_policy import CopyPolicy
from gateways.brokers.paper.settings import FillSettings
from gateways.memory.bus import MemoryBus
from gateways.memory.journal import MemoryJournal
from gateways.memory.snapshots import MemorySnapshots
from gateways.memory.streams import MemoryStreams
from tests.actors.memory_shards import Clock, fill_message, memory_broker, memory_server
from tests.audit.memory_cluster import memory_store
from tests.faults.adversarial.deadly import (
    Deadly,
    DeadlyBroker,
    DeadlyDenials,
    DeadlyFormat,
    DeadlyInstruments,
    DeadlyName,
    MortalJournal,
)

PLACES = (("creator", (0,)), ("follower", (0, 1)), ("gateway", (0,)))


class Poisoned:
    """One creator shard, two follower shards in one process, one gateway, one paper broker."""

    def __init__(
        self, *, kills: bool, places: tuple[tuple[str, tuple[int, ...]], ...] = PLACES
    ) -> None:
        self.deadly = Deadly()
        self.deadly.kills = kills
        denied = DeadlyDenials()
        denied.deadly = self.deadly
        broker = DeadlyBroker("poison-broker")
        broker.deadly = self.deadly
        self.name = DeadlyName("paper")
        self.name.deadly, self.name.is_armed = self.deadly, False
        self.settings = ShardSettings(
            creator_shards=sum(len(shards) for kind, shards in places if kind == "creator"),
            follower_shards=2,
            brokers=("paper", broker),
            part_rows=3,
            snapshot_frames_every=5,
            snapshot_seconds_every=600.0,
            policy=CopyPolicy(denied=denied),
            instruments=DeadlyInstruments(self.deadly),
        )
        self.server, self.clock = memory_server(), Clock()
        self.broker = memory_broker(self.server, self.clock, FillSettings(fee_rate_micros=300))
        self.bus, self.streams = MemoryBus(self.server), MemoryStreams(self.server)
        self.journal = MemoryJournal(self.server)
        self.ports = Ports(
            self.journal,
            self.streams,
            self.bus,
            MemorySnapshots(self.server),
            DeadlyFormat(self.deadly),
            self.clock,
        )
        self.hosts: dict[str, Host] = {}
        self.starts: dict[str, int] = {}
        self._places = places
        self._keepers: list[asyncio.Task[None]] = []
        self._stopping = False
        self._ids = itertools.count(1)

    # Running.

    def start(self) -> None:
        """Start every host, and again whenever it ends."""
        self._keepers = [
            asyncio.create_task(self._keep(kind, shards), name=f"keep {kind}")
            for kind, shards in self._places
        ]

    async def _keep(self, kind: str, shards: tuple[int, ...]) -> None:
        while not self._stopping:
            self.starts[kind] = self.starts.get(kind, 0) + 1
            journal = self.deadly.journals[kind] = MortalJournal(self.server, self.journal)
            ports = self.ports._replace(journal=journal)
            spec = HostSpec(kind, shards, f"{kind}-{next(self._ids)}", self.settings)
            host = Host(spec, partial(self._connect, ports))
            self.hosts[kind] = host
            self.deadly.hosts[kind] = asyncio.create_task(host.run(), name=f"host {kind}")
            await asyncio.wait([self.deadly.hosts[kind]])

    async def _connect(self, ports: Ports) -> Connected:
        async def close() -> None:
            return None

        return Connected(
            ports, {0: (self.name, self.broker), 1: ("poison-broker", self.broker)}, close
        )

    async def kill(self, kind: str) -> None:
        """End a host as kill -9 would."""
        killed = self.deadly.hosts[kind]
        self.deadly.kill(kind)
        await asyncio.wait([killed])
        await self.until(lambda: self.deadly.hosts[kind] is not killed, "a successor")

    async def stop(self) -> None:
        """Stop every host in order."""
        self._stopping = True
        for host in self.hosts.values():
            host.stop()
        await asyncio.gather(*self._keepers)

    async def until(self, is_true: Callable[[], bool], what: str) -> None:
        """Wait for a condition while time goes on."""
        end_s = asyncio.get_running_loop().time() + 30.0
        while not is_true():
            assert asyncio.get_running_loop().time() < end_s, f"expected {what} within 30 s"
            await asyncio.sleep(0.005)
            self.broker.advance()

    async def drained(self) -> None:
        """Wait until every shard is live and nothing moves any more."""
        still, before = 0, -1
        while still < 12:
            await self.until(self._are_live, "every shard to be live")
            await asyncio.sleep(0.01)
            self.broker.advance()
            now = sum(len(stream.messages) for stream in self.server.streams.values())
            still = still + 1 if now == before and self._are_live() else 0
            before = now

    def _are_live(self) -> bool:
        cores = [actor.core for host in self.hosts.values() for actor in host.actors.values()]
        return len(self.hosts) == len(self._places) and all(
            core.phase.value == "live" and core.standing.is_settled for core in cores
        )

    # Inputs.

    async def publish(self, subject: str, body: Any) -> None:
        """Publish a message as JSON."""
        await self.streams.publish(
            subject, msgspec.json.encode(body), message_id=f"message-{next(self._ids)}"
        )

    def fill(
        self, symbol: str, side: str, quantity: str, price: str = "100", **fields: str
    ) -> dict[str, str]:
        """Make a fill's JSON under a new id."""
        return {**fill_message(next(self._ids), symbol, side, quantity, price), **fields}

    async def command(self, subject: str, *, command_id: str = "", **body: Any) -> dict[str, Any]:
        """Send a command until it is answered, under one id."""
        data = msgspec.json.encode(
            {"command_id": command_id or f"command-{next(self._ids)}", **body}
        )
        while True:
            answer = await self.ask(subject, data)
            if answer is not None:
                return answer

    async def ask(self, subject: str, data: bytes) -> dict[str, Any] | None:
        """Send a request once. Returns: None when no answer came."""
        try:
            return dict(msgspec.json.decode(await self.bus.request(subject, data, timeout_s=0.5)))
        except OperatingError:
            await asyncio.sleep(0.01)
            return None

    async def open(self, creators: tuple[str, ...] = ("anna", "bert"), accounts: int = 8) -> None:
        """Open creators and accounts that follow them all."""
        for creator in creators:
            await self.command(f"commands.creator.{creator}", type="open_creator", cash="100000")
        for number in range(accounts):
            await self.command(f"commands.account.account-{number}", type="open_account")
            for creator in creators:
                await self.command(
                    f"commands.account.account-{number}",
                    type="follow",
                    creator_id=creator,
                    cash=f"{500 + number}.5",
                )

    # Results.

    def frames(self, kind: ShardKind) -> list[tuple[int, list[Any]]]:
        """Read every frame of a kind's journals. Returns: shards and events, in the stream's
        order.
        """
        stream = self.server.stream(f"JOURNAL_{kind.name}")
        decoded = [decode_frame(message.data) for message in stream.messages]
        return [(header.key.shard, events) for header, events in decoded]

    def events(self, kind: ShardKind, event_type: type) -> list[Any]:
        """Read every event of a type in a kind's journals."""
        return [
            event
            for _, events in self.frames(kind)
            for event in events
            if isinstance(event, event_type)
        ]

    def quarantined(self, kind: ShardKind) -> list[InputQuarantined]:
        """Read the quarantined inputs."""
        return self.events(kind, InputQuarantined)

    def letters(self) -> list[dict[str, Any]]:
        """Read the dead letters."""
        return [
            msgspec.json.decode(message.data)
            for message in self.server.stream("DEADLETTER").messages
        ]

    def holdings(self) -> dict[tuple[str, str, str], tuple[int, int, int]]:
        """Return target, position and cash of subscriptions by account, creator and symbol."""
        found = {}
        for actor in self.hosts["follower"].actors.values():
            shard = actor.core.state
            assert isinstance(shard, FollowerShard)
            state = shard.state
            names = {(shard, number): name for (shard, name), number in state.creators.items()}
            for book in state.books:
                creator = names[book.creator_shard, book.creator]
                for row, account in enumerate(book.subscriptions["account"].tolist()):
                    cash = int(book.subscriptions["cash"][row])
                    for slot in book.slots:
                        symbol = state.instruments[book.creator_shard, slot.instrument].symbol
                        where = (state.account_ids.text(account), creator, symbol)
                        found[where] = int(slot.target[row]), int(slot.position[row]), cash
        return found

    async def audit(self, directory: Path) -> AuditReport:
        """Audit what the stopped cluster left."""
        store = memory_store(self.server, bytes(self.broker.ledger.data), directory)
        return await audit(store, is_drained=True)


@asynccontextmanager
async def poisoned(directory: Path, **options: Any) -> AsyncIterator[Poisoned]:
    """Run a cluster; at the end it drains and stops, and the audit finds every promise kept."""
    cluster = Poisoned(**options)
    cluster.start()
    try:
        yield cluster
        await cluster.drained()
    finally:
        await cluster.stop()
    report = await cluster.audit(directory)
    assert report.passed, "\n".join(report.lines())
