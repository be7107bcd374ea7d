"""The listener to a running cluster: the newest progress of each shard, the newest heartbeat of
each host.

`lockstep status`, replays, benchmarks and tests hear a cluster through it. Progress of a lower
epoch than one heard before is a superseded owner's and is ignored. A superseded host may still be
heard: its heartbeat stands beside its successor's.
"""

import asyncio
import time
from collections.abc import Callable

import msgspec

from actors.shard.progress import HostHeartbeat, ShardProgress
from gateways.nats.connection import NatsConnection

Shard = tuple[str, int]
"""A shard's kind and number."""

_decode_progress = msgspec.json.Decoder(ShardProgress).decode
_decode_heartbeat = msgspec.json.Decoder(HostHeartbeat).decode


class Heard:
    """The shards and hosts that were heard, and when. `record` takes each message of a shard as it
    came, in the connection's read loop. Units: monotonic seconds.
    """

    def __init__(self, record: Callable[[bytes], None] | None = None) -> None:
        self.shards: dict[Shard, ShardProgress] = {}
        self.hosts: dict[str, HostHeartbeat] = {}
        """By incarnation, in the order in which they were first heard."""
        self.heard_s: dict[Shard | str, float] = {}
        """When a shard, or an incarnation of a host, was last heard."""
        self._record = record
        self._news = asyncio.Event()

    async def listen(self, connection: NatsConnection) -> None:
        """Hear everything from now on. Raises: OperatingError."""
        await connection.subscribe("heads.>", self.hear_shard)
        await connection.subscribe("hosts.*", self.hear_host)

    def hear_shard(
        self, subject: str, reply: str, data: bytes, headers: dict[str, str] | None
    ) -> None:
        """Take a message of `heads.>`."""
        if self._record is not None:
            self._record(data)
        self.take_progress(_decode_progress(data))

    def hear_host(
        self, subject: str, reply: str, data: bytes, headers: dict[str, str] | None
    ) -> None:
        """Take a message of `hosts.*`."""
        heartbeat = _decode_heartbeat(data)
        self.hosts[heartbeat.incarnation] = heartbeat
        self.heard_s[heartbeat.incarnation] = time.monotonic()
        self._news.set()

    def take_progress(self, progress: ShardProgress) -> None:
        """Take the progress of a shard, unless it is a superseded owner's."""
        key = (progress.kind, progress.shard)
        known = self.shards.get(key)
        if known is None or progress.epoch >= known.epoch:
            self.shards[key] = progress
            self.heard_s[key] = time.monotonic()
            self._news.set()

    async def wait_news(self) -> None:
        """Wait until something is heard from now on."""
        self._news.clear()
        await self._news.wait()
