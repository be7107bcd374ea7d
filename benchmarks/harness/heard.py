"""What the shards tell on core NATS, kept with the time at which it was heard.

A progress comes right after its frame's acknowledgement, so the first progress that names a frame
bounds from above when that frame was durable.
"""

import asyncio
import time
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.shard.progress import HostHeartbeat, ShardProgress
from cluster.replay.barrier import ProgressBarrier

Shard = tuple[str, int]
Times = NDArray[np.int64]

_decode_progress = msgspec.json.Decoder(ShardProgress).decode
_decode_host = msgspec.json.Decoder(HostHeartbeat).decode


class Heard(NamedTuple):
    """A progress and when it was heard."""

    time_ns: int
    progress: ShardProgress


class ProgressLog:
    """Keeps the progress of a run as they come, and passes them to a barrier."""

    def __init__(self, barrier: ProgressBarrier) -> None:
        self._barrier = barrier
        self._kept: list[tuple[int, bytes]] = []
        self.hosts: dict[str, HostHeartbeat] = {}
        self._host_heard = asyncio.Event()

    async def wait_hosts(self, count: int) -> None:
        """Wait until so many hosts were heard: whose process is whose is known from then on."""
        while len(self.hosts) < count:
            self._host_heard.clear()
            await self._host_heard.wait()

    def hear(self, subject: str, reply: str, data: bytes, headers: dict[str, str] | None) -> None:
        """Take one message of `heads.>`; runs in the connection's read loop."""
        self._kept.append((time.time_ns(), data))
        self._barrier.hear(subject, reply, data, headers)

    def hear_host(
        self, subject: str, reply: str, data: bytes, headers: dict[str, str] | None
    ) -> None:
        """Take one message of `hosts.>`."""
        progress = _decode_host(data)
        # A new incarnation takes its predecessor's place.
        for name in [
            name
            for name, host in self.hosts.items()
            if host.shards.keys() == progress.shards.keys() and host.kind == progress.kind
        ]:
            del self.hosts[name]
        self.hosts[progress.incarnation] = progress
        self._host_heard.set()

    def clear(self) -> None:
        """Forget what was heard so far but for each shard's last progress."""
        last = {
            (progress.kind, progress.shard): (time_ns, data)
            for time_ns, data in self._kept
            for progress in (_decode_progress(data),)
        }
        self._kept[:] = last.values()

    def heard(self) -> list[Heard]:
        """List everything heard, in order."""
        return [Heard(time_ns, _decode_progress(data)) for time_ns, data in self._kept]


class Acknowledgements:
    """When each frame of each shard was known to be durable."""

    def __init__(self, heard: list[Heard]) -> None:
        columns: dict[Shard, list[tuple[int, int]]] = {}
        for time_ns, progress in heard:
            rows = columns.setdefault((progress.kind, progress.shard), [])
            if not rows or progress.number > rows[-1][0]:
                rows.append((progress.number, time_ns))
        self._columns: dict[Shard, tuple[Times, Times]] = {
            shard: _columns(rows) for shard, rows in columns.items()
        }

    def time_ns(self, kind: str, shard: int, number: int) -> int | None:
        """Tell when a frame was first covered by a progress; None when none was heard."""
        columns = self._columns.get((kind, shard))
        if columns is None:
            return None
        numbers, times = columns
        index = int(np.searchsorted(numbers, number))
        return int(times[index]) if index < len(numbers) else None


def _columns(rows: list[tuple[int, int]]) -> tuple[Times, Times]:
    table: Any = np.array(rows, np.int64).reshape(-1, 2)
    return np.ascontiguousarray(table[:, 0]), np.ascontiguousarray(table[:, 1])
