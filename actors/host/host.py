"""A host: one process that runs shard actors of one kind, connected to the outside once for all of
them.

Its constructor does nothing that can fail. `run` connects, starts every shard, beats its heart on
`hosts.<incarnation>`, and ends when it is stopped or when no shard is left to it.
"""

import asyncio
import gc
import os
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import msgspec
import structlog

from actors.broker_gateway.actor import BrokerGatewayShardActor
from actors.creator.actor import CreatorShardActor
from actors.follower.actor import FollowerShardActor
from actors.host.command_router import CommandRouter
from actors.ports import Broker, Ports
from actors.settings import ShardSettings
from actors.shard.core import ShardActor
from actors.shard.progress import PROGRESS_PERIOD_S, HostHeartbeat
from actors.shard.recovery import Phase
from actors.shard.retry import retry_until_done
from actors.shard.turn_gate import TurnGate
from engine.journal.frame import ShardKind

_log = structlog.get_logger()

AGAIN_S_MIN = 0.05
AGAIN_S_MAX = 2.0
WELL_S = 10.0
"""A shard that ran so long is not on its way from one crash to the next."""
CRASHES_MAX = 10
"""After so many crashes in a row it may be the process that is ill: the host ends, and its
successor begins in another.
"""


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
        self.actors: dict[int, ShardActor] = {}
        self._followers: dict[int, FollowerShardActor] = {}
        self._neighbours = TurnGate()
        self._lives = 1
        self._stopping = asyncio.Event()
        self.error = ""

    def stop(self) -> None:
        """Ask every shard to end."""
        self._stopping.set()
        for actor in self.actors.values():
            actor.core.stop()

    async def run(self) -> str:
        """Run until stopped or until no shard is left. Returns: why it ended."""
        connected = await self._connect()
        try:
            return await self._run(connected)
        finally:
            await connected.close()

    async def _run(self, connected: Connected) -> str:
        for shard in self.spec.shards:
            self._make(shard, connected, self.spec.incarnation)
        router = CommandRouter(
            connected.ports.bus, connected.ports.wire, self.spec.settings, self._followers
        )
        if self._followers:
            await retry_until_done("command subscriptions", router.open)
        shards = [
            asyncio.create_task(self._keep(shard, connected), name=f"{self.spec.kind}/{shard}")
            for shard in self.spec.shards
        ]
        beat = asyncio.create_task(self._beat(connected.ports), name="heartbeat")
        if self._stopping.is_set():
            self.stop()
        try:
            await self._until_over(shards)
        finally:
            for task in (beat, *shards):
                task.cancel()
            await asyncio.gather(beat, *shards, router.close(), return_exceptions=True)
        return ", ".join(
            f"{actor.core.key} {actor.core.phase.value} {actor.core.error}".strip()
            for actor in self.actors.values()
        )

    async def _until_over(self, shards: list[asyncio.Task[None]]) -> None:
        await asyncio.wait(shards, return_when=asyncio.FIRST_COMPLETED)
        while not all(shard.done() for shard in shards):
            # A shard that crashes again and again, or that a host long given up took over when it
            # started late after all, is taken up again by this host's successor, so the neighbours
            # end too; they recover in no time.
            if any(
                self._is_given_up(shard, task)
                for shard, task in zip(self.actors, shards, strict=True)
            ):
                self.stop()
            await asyncio.wait(
                [shard for shard in shards if not shard.done()], return_when=asyncio.FIRST_COMPLETED
            )
        # A failed shard keeps its host alive and visible until an operator stops it.
        if any(actor.core.phase is Phase.FAILED for actor in self.actors.values()):
            await self._stopping.wait()

    def _is_given_up(self, shard: int, task: "asyncio.Task[None]") -> bool:
        return task.done() and self.actors[shard].core.phase in (Phase.CRASHED, Phase.LOST)

    async def _keep(self, shard: int, connected: Connected) -> None:
        """Run a shard, under a new owner's name after each crash: its neighbours go on
        meanwhile.
        """
        loop, pause_s, crashes = asyncio.get_running_loop(), AGAIN_S_MIN, 0
        while True:
            actor, began_s = self.actors[shard], loop.time()
            await actor.core.run(actor)
            if loop.time() - began_s > WELL_S:
                pause_s, crashes = AGAIN_S_MIN, 0
            crashes += 1
            if actor.core.phase is not Phase.CRASHED or crashes == CRASHES_MAX:
                return
            if await self._stops_within(pause_s):
                return
            pause_s = min(2 * pause_s, AGAIN_S_MAX)
            self._lives += 1
            self._make(shard, connected, f"{self.spec.incarnation}-{self._lives}")
            del actor
            # The dead one refers to itself, and full passes are rare
            # (`actors.host.garbage_collection`): its state would stay beside its successor's.
            gc.collect()

    async def _stops_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return False
        return True

    def _make(self, shard: int, connected: Connected, incarnation: str) -> None:
        actor = self._actor(shard, connected, incarnation)
        actor.core.neighbours = self._neighbours
        self.actors[shard] = actor
        if isinstance(actor, FollowerShardActor):
            self._followers[shard] = actor

    def _actor(self, shard: int, connected: Connected, incarnation: str) -> ShardActor:
        settings, ports = self.spec.settings, connected.ports
        match ShardKind[self.spec.kind.upper()]:
            case ShardKind.CREATOR:
                return CreatorShardActor(shard, incarnation, ports, settings)
            case ShardKind.FOLLOWER:
                return FollowerShardActor(shard, incarnation, ports, settings)
            case ShardKind.GATEWAY:
                name, broker = connected.brokers[shard]
                return BrokerGatewayShardActor(
                    shard, incarnation, ports, settings, name=name, broker=broker
                )

    async def _beat(self, ports: Ports) -> None:
        while True:
            heartbeat = HostHeartbeat(
                self.spec.incarnation,
                self.spec.kind,
                os.getpid(),
                {str(shard): actor.core.phase.value for shard, actor in self.actors.items()},
                "; ".join(actor.core.error for actor in self.actors.values() if actor.core.error),
            )
            await asyncio.gather(
                ports.bus.publish(f"hosts.{self.spec.incarnation}", msgspec.json.encode(heartbeat)),
                *(actor.core.tell() for actor in self.actors.values()),
                return_exceptions=True,
            )
            await asyncio.sleep(PROGRESS_PERIOD_S)
