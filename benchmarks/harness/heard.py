"""The progress that shards publish, kept with the time at which it was heard.

Progress follows its frame's acknowledgement at once. So the first progress message that names a
frame gives an upper bound of the time at which that frame was durable.
"""

import time
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.shard.progress import HostHeartbeat, ShardProgress
from gateways.nats.heard import Heard, Shard

Times = NDArray[np.int64]

_decode_progress = msgspec.json.Decoder(ShardProgress).decode


class TimedProgress(NamedTuple):
    """The progress of a shard, and when it was heard."""

    time_ns: int
    progress: ShardProgress


class ProgressLog:
    """Keeps all progress of a run as it comes: `record` is for the cluster's listener."""

    def __init__(self) -> None:
        self._kept: list[tuple[int, bytes]] = []

    def record(self, data: bytes) -> None:
        """Take one message of a shard; runs in the connection's read loop."""
        self._kept.append((time.time_ns(), data))

    def clear(self) -> None:
        """Forget all but each shard's last progress."""
        last = {
            (progress.kind, progress.shard): (time_ns, data)
            for time_ns, data in self._kept
            for progress in (_decode_progress(data),)
        }
        self._kept[:] = last.values()

    def heard(self) -> list[TimedProgress]:
        """Return everything heard, in order."""
        return [TimedProgress(time_ns, _decode_progress(data)) for time_ns, data in self._kept]


async def wait_hosts(heard: Heard, count: int) -> None:
    """Wait until so many hosts were heard: whose process is whose is known from then on."""
    while len(current_hosts(heard)) < count:
        await heard.wait_news()


def current_hosts(heard: Heard) -> dict[str, HostHeartbeat]:
    """Return the hosts that run now by incarnation: a new one takes its predecessor's place."""
    hosts = {(host.kind, tuple(host.shards)): host for host in heard.hosts.values()}
    return {host.incarnation: host for host in hosts.values()}


class Acknowledgements:
    """When each frame of each shard was known to be durable."""

    def __init__(self, heard: list[TimedProgress]) -> None:
        columns: dict[Shard, list[tuple[int, int]]] = {}
        for time_ns, progress in heard:
            rows = columns.setdefault((progress.kind, progress.shard), [])
            if not rows or progress.number > rows[-1][0]:
                rows.append((progress.number, time_ns))
        self._columns: dict[Shard, tuple[Times, Times]] = {
            shard: _columns(rows) for shard, rows in columns.items()
        }

    def time_ns(self, kind: str, shard: int, number: int) -> int | None:
        """Return the time at which progress first covered a frame; None when none did."""
        columns = self._columns.get((kind, shard))
        if columns is None:
            return None
        numbers, times = columns
        index = int(np.searchsorted(numbers, number))
        return int(times[index]) if index < len(numbers) else None


def _columns(rows: list[tuple[int, int]]) -> tuple[Times, Times]:
    table: Any = np.array(rows, np.int64).reshape(-1, 2)
    return np.ascontiguousarray(table[:, 0]), np.ascontiguousarray(table[:, 1])
