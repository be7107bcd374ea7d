"""A host: one process that runs shard actors of one kind, connected to the outside once for all of them.

Its constructor does nothing that can fail. `run` connects, starts every shard, beats its heart on
`hosts.<incarnation>`, and ends when it is stopped or when no shard is left to it.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import msgspec
import structlog

from actors.broker_gateway import BrokerGatewayShardActor
from actors.command_router import CommandRouter
from actors.creator import CreatorShardActor
from actors.follower import FollowerShardActor
from actors.heads import HEAD_PERIOD_S, HostHead
from actors.journal_writer import persist
from actors.ports import Broker
from actors.recovery import Phase
from actors.settings import ShardSettings
from actors.shard import Ports, ShardActor
from engine.frame import ShardKind

_log = structlog.get_logger()


class HostSpec(msgspec.Struct, frozen=True):
    """What a host is to run."""

    kind: str
    """`creator`, `follower` or `gateway`."""
    shards: tuple[int, ...]
    """The shards it hosts."""
    incarnation: str
    """Its name, never used twice."""
    settings: ShardSettings


class Connected(NamedTuple):
    """The outside, connected. `brokers` are by shard number, for gateways."""

    ports: Ports
    brokers: dict[int, tuple[str, Broker]]
    close: Callable[[], Awaitable[None]]


class Host:
    """Runs shard actors until stopped."""

    def __init__(self, spec: HostSpec, connect: Callable[[], Awaitable[Connected]]) -> None:
        self.spec = spec
        self._connect = connect
        self._actors: dict[int, ShardActor] = {}
        self._stopping = asyncio.Event()
        self.error = ""

    def stop(self) -> None:
        """Ask every shard to end."""
        self._stopping.set()
        for actor in self._actors.values():
            actor.core.stop()

    async def run(self) -> str:
        """Run until stopped or until no shard is left. Returns: why it ended."""
        connected = await self._connect()
        try:
            return await self._run(connected)
        finally:
            await connected.close()

    async def _run(self, connected: Connected) -> str:
        followers: dict[int, FollowerShardActor] = {}
        for shard in self.spec.shards:
            actor = self._actor(shard, connected)
            self._actors[shard] = actor
            if isinstance(actor, FollowerShardActor):
                followers[shard] = actor
        router = CommandRouter(connected.ports.bus, connected.ports.wire, self.spec.settings, followers)
        if followers:
            await persist("command subscriptions", router.open)
        shards = [
            asyncio.create_task(actor.core.run(actor), name=str(actor.core.key))
            for actor in self._actors.values()
        ]
        beat = asyncio.create_task(self._beat(connected.ports), name="heartbeat")
        if self._stopping.is_set():
            self.stop()
        try:
            await self._until_over(shards)
        finally:
            beat.cancel()
            await asyncio.gather(beat, router.close(), return_exceptions=True)
        return ", ".join(
            f"{actor.core.key} {actor.core.phase.value} {actor.core.error}".strip()
            for actor in self._actors.values()
        )

    async def _until_over(self, shards: list[asyncio.Task[None]]) -> None:
        await asyncio.wait(shards, return_when=asyncio.FIRST_COMPLETED)
        while not all(shard.done() for shard in shards):
            # A shard that crashed, or that a host long given up took over when it started late after all, is taken up again by this
            # host's successor, so the neighbours end too; they recover in no time.
            if any(actor.core.phase in (Phase.CRASHED, Phase.LOST) for actor in self._actors.values()):
                self.stop()
            await asyncio.wait(
                [shard for shard in shards if not shard.done()], return_when=asyncio.FIRST_COMPLETED
            )
        # A failed shard keeps its host alive and visible until an operator stops it.
        if any(actor.core.phase is Phase.FAILED for actor in self._actors.values()):
            await self._stopping.wait()

    def _actor(self, shard: int, connected: Connected) -> ShardActor:
        spec, ports = self.spec, connected.ports
        match ShardKind[spec.kind.upper()]:
            case ShardKind.CREATOR:
                return CreatorShardActor(shard, spec.incarnation, ports, spec.settings)
            case ShardKind.FOLLOWER:
                return FollowerShardActor(shard, spec.incarnation, ports, spec.settings)
            case ShardKind.GATEWAY:
                name, broker = connected.brokers[shard]
                return BrokerGatewayShardActor(
                    shard, spec.incarnation, ports, spec.settings, name=name, broker=broker
                )

    async def _beat(self, ports: Ports) -> None:
        while True:
            head = HostHead(
                self.spec.incarnation,
                self.spec.kind,
                os.getpid(),
                {str(shard): actor.core.phase.value for shard, actor in self._actors.items()},
                "; ".join(actor.core.error for actor in self._actors.values() if actor.core.error),
            )
            await asyncio.gather(
                ports.bus.publish(f"hosts.{self.spec.incarnation}", msgspec.json.encode(head)),
                *(actor.core.tell() for actor in self._actors.values()),
                return_exceptions=True,
            )
            await asyncio.sleep(HEAD_PERIOD_S)
