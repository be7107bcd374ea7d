"""Real shard actors over the in-memory server, run turn by turn: a crash is an actor that is not
asked again.
"""

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any

import msgspec

from actors.creator.actor import CreatorShardActor
from actors.follower.actor import FollowerShardActor
from actors.follower.command_inbox import PendingCommands
from actors.ports import Ports
from actors.settings import ShardSettings
from actors.shard.core import ShardActor
from engine.columns.state import state_hash
from engine.journal.chain import Chain
from engine.journal.frame import ShardKey, decode_frame
from engine.messages.answers import Answer
from engine.messages.commands import AccountCommand
from gateways.brokers.paper.memory import MemoryPaperBroker
from gateways.brokers.paper.settings import FillSettings
from gateways.json.format import JsonFormat
from gateways.memory.bus import MemoryBus
from gateways.memory.journal import MemoryJournal
from gateways.memory.server import MemoryServer
from gateways.memory.snapshots import MemorySnapshots
from gateways.memory.streams import MemoryStreams

START_NS = 1_700_000_000 * 10**9
TIME = "2023-11-14T22:13:20Z"
SETTINGS = ShardSettings(
    creator_shards=1, follower_shards=1, part_rows=64, reports_wait_s=0, snapshot_frames_every=10**9
)
STREAMS = {
    "INGRESS": ("fills.>", "marks.>"),
    "EXECUTIONS": ("executions.>",),
    "JOURNAL_CREATOR": ("journal.creator.*",),
    "JOURNAL_FOLLOWER": ("journal.follower.*",),
    "JOURNAL_GATEWAY": ("journal.gateway.*",),
    "DEADLETTER": ("deadletter.>",),
}


class Clock:
    """Time that moves when told to."""

    def __init__(self) -> None:
        self.time_ns = START_NS

    def now_ns(self) -> int:
        return self.time_ns


def memory_server() -> MemoryServer:
    """A server with every stream of a cluster."""
    server = MemoryServer()
    for name, subjects in STREAMS.items():
        server.add_stream(name, *subjects)
    return server


def memory_broker(server: MemoryServer, clock: Clock, fills: FillSettings) -> MemoryPaperBroker:
    """A paper broker whose reports reach the server's stream once per message id."""
    executions = server.stream("EXECUTIONS")

    def report(subject: str, data: bytes, *, message_id: str) -> None:
        if message_id not in executions.sequence_of_id:
            executions.store(subject, data, message_id)

    return MemoryPaperBroker(fills, clock, report, ledger_id="test")


def fill_message(number: int, symbol: str, side: str, quantity: str, price: str) -> dict[str, str]:
    """A fill's JSON."""
    return {
        "exec_id": f"fill-{number}",
        "symbol": symbol,
        "side": side,
        "last_qty": quantity,
        "last_px": price,
        "transact_time": TIME,
    }


class MemoryShards:
    """One server; actors are made on it, and made again after a crash."""

    def __init__(self, settings: ShardSettings = SETTINGS) -> None:
        self.server = memory_server()
        self.clock = Clock()
        self.settings = settings
        self.journal = MemoryJournal(self.server)
        self.streams = MemoryStreams(self.server)
        self.bus = MemoryBus(self.server)
        self.ports = Ports(
            self.journal,
            self.streams,
            self.bus,
            MemorySnapshots(self.server),
            JsonFormat(),
            self.clock,
        )
        self._ids = itertools.count(1)

    async def creator(self) -> CreatorShardActor:
        """Start the creator shard anew."""
        actor = CreatorShardActor(0, f"creator-{next(self._ids)}", self.ports, self.settings)
        await actor.start()
        return actor

    async def follower(self) -> FollowerShardActor:
        """Start the follower shard anew."""
        actor = FollowerShardActor(0, f"follower-{next(self._ids)}", self.ports, self.settings)
        await actor.start()
        return actor

    async def publish(self, subject: str, body: Any) -> None:
        """Publish a message: bytes as they are, anything else as JSON."""
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        await self.streams.publish(subject, data, message_id=f"message-{next(self._ids)}")

    def fill(
        self, symbol: str, side: str = "buy", quantity: str = "10", price: str = "100"
    ) -> dict[str, str]:
        """Make a fill's JSON under a new id."""
        return fill_message(next(self._ids), symbol, side, quantity, price)

    async def open_creator(
        self,
        actor: CreatorShardActor,
        creator: str,
        cash: str = "1000000",
        *,
        broker: str = "paper",
    ) -> None:
        """Open a creator."""
        body = {
            "command_id": f"open-{creator}",
            "type": "open_creator",
            "cash": cash,
            "broker": broker,
        }
        subject = f"commands.creator.{creator}"
        asked = asyncio.create_task(
            self.bus.request(subject, msgspec.json.encode(body), timeout_s=5.0)
        )
        await asyncio.sleep(0)
        await turns(actor)
        assert msgspec.json.decode(await asked)["ok"]

    def frames(self, key: ShardKey) -> list[list[Any]]:
        """Read the events of every frame that counts."""
        chain, found = Chain(key), list[list[Any]]()
        for message in self.server.stream(f"JOURNAL_{key.kind.name}").messages:
            if message.subject == key.subject and chain.accept(message.data) is not None:
                found.append(decode_frame(message.data)[1])
        return found

    def events(self, key: ShardKey, kind: type) -> list[Any]:
        """Read the events of one type of every frame that counts."""
        return [event for frame in self.frames(key) for event in frame if isinstance(event, kind)]


async def turns(*actors: ShardActor, count: int = 6) -> None:
    """Let actors take turns until nothing is under way."""
    for _ in range(count):
        for actor in actors:
            await actor.turn()
            await asyncio.sleep(0)
            await actor.core.rest()
            if isinstance(actor, FollowerShardActor):
                await actor.lookup.wait_read()
    for actor in actors:
        await actor.core.committer.settle()
        await actor.core.rest()


async def command(actor: FollowerShardActor, *commands: AccountCommand) -> list[Answer]:
    """Send commands as one message. Returns: the answers."""
    return await command_messages(actor, commands)


async def command_messages(
    actor: FollowerShardActor, *messages: Sequence[AccountCommand]
) -> list[Answer]:
    """Send several messages of commands at once. Returns: the answers."""
    answered: list[Answer] = []

    async def reply(answers: list[Answer]) -> None:
        answered.extend(answers)

    for commands in messages:
        assert actor.inbox.put(PendingCommands(list(commands), reply))
    await turns(actor)
    return answered


def hash_of(actor: FollowerShardActor | CreatorShardActor) -> str:
    """Hash an actor's durable state."""
    assert actor.core.standing.is_settled
    return state_hash(actor.core.standing.durable_state()).hex()
