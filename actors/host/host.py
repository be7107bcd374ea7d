"""A host: one process that runs shard actors of one kind, connected to the outside once for all of
them.

    connecting --> running its shards --stopped, or its last shard gave up--> ended

The constructor does nothing that can fail. `run` connects, starts the shards of its spec and beats
its heart on `hosts.<incarnation>`. While it runs, `assign` gives it more shards and `release` takes
some away. A host that was left without shards waits for others.
"""

import asyncio
import gc
import os
from collections.abc import Awaitable, Callable, Collection, Iterable
from functools import partial
from typing import NamedTuple

import msgspec

from actors.follower.actor import FollowerShardActor
from actors.host.alarms import process_alarms
from actors.host.command_router import CommandRouter
from actors.host.hosted_shard import HostedShard
from actors.host.shard_kinds import SHARD_KINDS, ShardOwner
from actors.ports import Broker, Ports
from actors.retry import retry_until_done
from actors.settings import ShardSettings
from actors.shard.core import ShardActor
from actors.shard.progress import PROGRESS_PERIOD_S, HostHeartbeat
from actors.shard.recovery import Phase
from actors.shard.turn_gate import TurnGate


class HostSpec(msgspec.Struct, frozen=True):
    """The shards that a host begins with, and their settings."""

    kind: str
    """A kind of `actors.host.shard_kinds`: `creator`, `follower` or `gateway`."""
    shards: tuple[int, ...]
    incarnation: str
    """The host's name, never used twice."""
    settings: ShardSettings


class Connected(NamedTuple):
    """The outside, connected. `brokers` are by shard number, for gateways."""

    ports: Ports
    brokers: dict[int, tuple[str, Broker]]
    close: Callable[[], Awaitable[None]]


class Host:
    """Runs shard actors until it is stopped."""

    def __init__(self, spec: HostSpec, connect: Callable[[], Awaitable[Connected]]) -> None:
        self.spec = spec
        self._connect = connect
        self._connected: Connected | None = None
        self._router: CommandRouter | None = None
        self._shards: dict[int, HostedShard] = {}
        self._followers: dict[int, FollowerShardActor] = {}
        self._gate = TurnGate()
        self._owned: set[int] = set()
        self._lives = 1
        self._placing = asyncio.Lock()
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()

    @property
    def actors(self) -> dict[int, ShardActor]:
        """The present actor of each shard."""
        return {number: shard.actor for number, shard in self._shards.items()}

    def stop(self) -> None:
        """Ask every shard to end, and the host with them."""
        self._stopping.set()
        for shard in self._shards.values():
            shard.stop()
        self._changed.set()

    async def run(self) -> str:
        """Run until stopped, or until the last shard has ended by itself. Returns: why it ended."""
        connected = await self._connect()
        try:
            self._connected = connected
            return await self._run(connected)
        finally:
            await connected.close()

    async def _run(self, connected: Connected) -> str:
        await self.assign(self.spec.shards)
        beat = asyncio.create_task(self._beat(connected.ports), name="heartbeat")
        try:
            await self._until_over()
        finally:
            beat.cancel()
            closing = [shard.cancel() for shard in self._shards.values()]
            if self._router is not None:
                closing.append(self._router.close())
            await asyncio.gather(beat, *closing, return_exceptions=True)
        return ", ".join(
            f"{actor.core.key} {actor.core.phase.value} {actor.core.error}".strip()
            for actor in self.actors.values()
        )

    # Placement.

    async def assign(self, shards: Collection[int]) -> None:
        """Start shards here, beside those that run. One that is here already stays as it is. The
        host must be connected, which its heartbeat shows.

        Each shard recovers first, and its fence ends whoever owned it before.
        """
        async with self._placing:
            connected = self._connected
            assert connected is not None, "a host takes shards once it is connected"
            await self._wait_left(shards)
            new = [number for number in shards if number not in self._shards]
            for number in new:
                name = f"{self.spec.kind}/{number}"
                self._shards[number] = HostedShard(name, partial(self._make, number))
            if SHARD_KINDS[self.spec.kind].takes_account_commands:
                await self._listen(connected.ports, new)
            for number in new:
                self._shards[number].start(partial(self._ended, number))
                if self._stopping.is_set():
                    self._shards[number].stop()

    async def release(self, shards: Collection[int]) -> dict[int, Phase]:
        """End shards here, each once its last frame is durable, while the others go on. Returns:
        the phase each ended in.

        Commands for them are no longer taken here; their senders find the next owner.
        """
        async with self._placing:
            for number in shards:
                if number in self._shards:
                    if self._router is not None:
                        await self._router.remove(number)
                    self._followers.pop(number, None)
                    self._shards[number].leave()
            return await self._wait_left(shards)

    async def _wait_left(self, shards: Collection[int]) -> dict[int, Phase]:
        leaving = [
            (number, shard)
            for number, shard in self._shards.items()
            if shard.is_leaving and number in shards
        ]
        ended = {number: await shard.wait_over() for number, shard in leaving}
        for number in ended:
            # One that was over before it was to leave is still here.
            self._shards.pop(number, None)
        if leaving:
            # A dead actor refers to itself, and its state may be large.
            del leaving
            gc.collect()
        self._changed.set()
        return ended

    def _ended(self, number: int) -> None:
        shard = self._shards.get(number)
        if shard is not None and shard.is_leaving:
            del self._shards[number]
        self._changed.set()

    async def _listen(self, ports: Ports, shards: Iterable[int]) -> None:
        if self._router is None:
            self._router = CommandRouter(
                ports.bus, ports.message_format, self.spec.settings, self._followers
            )
        router = self._router
        await retry_until_done("command subscriptions", router.open)
        for number in shards:
            await retry_until_done("command subscriptions", partial(router.add, number))

    def _make(self, number: int) -> ShardActor:
        connected = self._connected
        assert connected is not None
        incarnation = self.spec.incarnation
        if number in self._owned:
            self._lives += 1
            incarnation = f"{incarnation}-{self._lives}"
        self._owned.add(number)
        actor = SHARD_KINDS[self.spec.kind].make(
            ShardOwner(
                number,
                incarnation,
                connected.ports,
                self.spec.settings,
                self._gate,
                connected.brokers,
            )
        )
        if isinstance(actor, FollowerShardActor):
            self._followers[number] = actor
        return actor

    # The end.

    async def _until_over(self) -> None:
        while self._has_work():
            staying = [shard for shard in self._shards.values() if not shard.is_leaving]
            # If one shard keeps crashing, or a late host has taken it over, this host ends with all
            # its shards. Its successor takes all of them; recovery is fast.
            if any(shard.is_given_up for shard in staying) and not all(
                shard.is_over for shard in staying
            ):
                self.stop()
            self._changed.clear()
            await self._changed.wait()

    def _has_work(self) -> bool:
        if any(not shard.is_over for shard in self._shards.values()):
            return True
        if self._stopping.is_set():
            return False
        # A failed shard keeps its host alive and visible until an operator stops it. A host without
        # shards may be given some.
        staying = [shard for shard in self._shards.values() if not shard.is_leaving]
        return not staying or any(shard.actor.core.phase is Phase.FAILED for shard in staying)

    # The heartbeat.

    async def _beat(self, ports: Ports) -> None:
        while True:
            actors = self.actors
            heartbeat = HostHeartbeat(
                self.spec.incarnation,
                self.spec.kind,
                os.getpid(),
                {str(shard): actor.core.phase.value for shard, actor in actors.items()},
                "; ".join(actor.core.error for actor in actors.values() if actor.core.error),
                process_alarms.told(),
            )
            await asyncio.gather(
                ports.bus.publish(f"hosts.{self.spec.incarnation}", msgspec.json.encode(heartbeat)),
                *(actor.core.telling.tell() for actor in actors.values()),
                return_exceptions=True,
            )
            del actors
            await asyncio.sleep(PROGRESS_PERIOD_S)
