"""A host that is paused after it decided, before the result leaves the process.

It runs in the test's own process on the real servers, so that nothing ends it early. When it goes
on, it really attempts its append, answers and orders, after its successor has taken over.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from actors.host.host import Connected, Host, HostSpec
from actors.ports import Broker, Bus, BusSubscription, Request
from cluster.config.credentials import read_credentials
from cluster.config.file import load
from cluster.config.roles import ENGINE
from cluster.running.wiring import shard_settings
from engine.journal.frame import ShardKey
from engine.messages.blocks import BlockAnswered, GatewayEpoch, OrdersSubmitted, decode_block
from engine.values.ids import shard_of
from gateways.connections import ConnectionOptions, connect
from gateways.postgres.snapshots import PostgresConnectionOptions
from tests.faults.kill.running import CONFIG, RunningCluster


class Pause:
    """Where the zombie stops once armed, which it is by its own fence: a successor may follow
    within moments. `reached` says that it stands there, `go` lets it on.
    """

    def __init__(self) -> None:
        self.is_armed = False
        self.reached = asyncio.Event()
        self.go = asyncio.Event()
        self.replies: list[bytes] = []
        self.refusals: list[str] = []

    async def here(self) -> None:
        """Stop if armed."""
        if self.is_armed:
            self.reached.set()
            await self.go.wait()


class Zombie:
    """One host of one shard, paused in its appends; a gateway also where it hands orders over.

    A gateway then has another `append_pause`: a refused append must not keep it from trying its
    orders.
    """

    def __init__(self, cluster: RunningCluster, kind: str, shard: int) -> None:
        self.pause = Pause()
        self.append_pause = Pause() if kind == "gateway" else self.pause
        self._kind = kind
        self._credentials = read_credentials(cluster.data)
        settings = shard_settings(load(CONFIG))
        self.host = Host(HostSpec(kind, (shard,), f"zombie-{kind}", settings), self._connect)

    async def connect_plainly(self) -> Connected:
        """Connect to the cluster's servers without any pause."""
        user = self._credentials.users[ENGINE]
        return await connect(
            ConnectionOptions(
                nats=user.connection(self._credentials.nats_url, "zombie"),
                postgres=PostgresConnectionOptions(dsn=self._credentials.postgres_url),
                brokers=("paper",),
            )
        )

    def _is_of_shard(self, command: dict[str, Any]) -> bool:
        count = load(CONFIG).cluster.follower_shards
        return shard_of(command["account_id"], count) in self.host.spec.shards

    async def _connect(self) -> Connected:
        connected = await self.connect_plainly()
        bus = _RecordingBus(connected.ports.bus, self.pause, self._is_of_shard)
        ports = connected.ports._replace(bus=bus)
        if self._kind == "gateway":
            brokers: dict[int, tuple[str, Broker]] = {
                number: (name, _PausedBroker(broker, self.pause))
                for number, (name, broker) in connected.brokers.items()
            }
            connected = connected._replace(brokers=brokers)
        journal = _PausedJournal(connected.ports.journal, self.append_pause, self.pause)
        return connected._replace(ports=ports._replace(journal=journal))


class _PausedJournal:
    def __init__(self, journal: Any, *pauses: Pause) -> None:
        self._journal, self._pauses = journal, pauses
        self.read, self.tail = journal.read, journal.tail

    async def append(
        self, key: ShardKey, data: bytes, *, message_id: str, expected_sequence: int
    ) -> int:
        await self._pauses[0].here()
        stored: int = await self._journal.append(
            key, data, message_id=message_id, expected_sequence=expected_sequence
        )
        for pause in self._pauses:
            pause.is_armed = True
        return stored


class _PausedBroker:
    def __init__(self, broker: Any, pause: Pause) -> None:
        self._broker, self._pause = broker, pause
        self._is_answered = asyncio.Event()

    async def submit(self, block: bytes) -> bytes:
        sections = decode_block(block)
        if all(isinstance(section, GatewayEpoch) for section in sections):
            # Its introduction, which may be answered before a successor's.
            return bytes(await self._broker.submit(block))
        if not any(isinstance(section, OrdersSubmitted) for section in sections):
            # Refused before the orders are, a block of cancels alone would end the zombie before it
            # tried them.
            if self._pause.is_armed:
                await self._is_answered.wait()
            return bytes(await self._broker.submit(block))
        await self._pause.here()
        reply: bytes = await self._broker.submit(block)
        for section in decode_block(reply):
            if isinstance(section, BlockAnswered):
                self._pause.refusals.append(section.refusal)
        self._is_answered.set()
        return reply


class _RecordingBus:
    """Notes the answers that the zombie's shard gives once the pause is reached; they are sent all
    the same.

    A bulk request may reach the zombie's host for accounts of other shards. The host then hands on
    what their owners answer, and that is none of the zombie's.
    """

    def __init__(
        self, bus: Bus, pause: Pause, is_of_shard: Callable[[dict[str, Any]], bool]
    ) -> None:
        self._bus, self._pause, self._is_of_shard = bus, pause, is_of_shard
        self.publish, self.request = bus.publish, bus.request

    async def subscribe(
        self, subject: str, receive: Callable[[Request], None], *, queue: str = ""
    ) -> BusSubscription:
        def recorded(request: Request) -> None:
            async def reply(data: bytes) -> None:
                if self._pause.reached.is_set():
                    self._pause.replies += self._of_shard(request, data)
                await request.reply(data)

            receive(request._replace(reply=reply))

        return await self._bus.subscribe(subject, recorded, queue=queue)

    def _of_shard(self, request: Request, data: bytes) -> list[bytes]:
        """Return the answers for the zombie's own accounts; `busy` says that there is none."""
        if request.subject != "commands.bulk":
            return [data]
        pairs = zip(msgspec.json.decode(request.data), msgspec.json.decode(data), strict=True)
        return [
            msgspec.json.encode(answer)
            for command, answer in pairs
            if self._is_of_shard(command) and answer.get("reason") != "busy"
        ]
