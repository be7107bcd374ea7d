"""Progress and heartbeats: messages of shards and hosts on core NATS, after frames and every 200
ms.

They are hints: readers of a journal notice by them that they are behind, and people see how a
cluster stands. They are JSON because people read them.
"""

import msgspec

from actors.counters import Counters
from actors.ports import Bus
from engine.journal.cursors import Cursor
from engine.journal.frame import ShardKey

PROGRESS_PERIOD_S = 0.2
SUPERVISOR = "supervisor"
"""Incarnation and kind in the heartbeat of the supervisor, which it sends only in trouble."""


class CursorProgress(msgspec.Struct, frozen=True):
    """The part of one input that is taken and durable. `row` is not NO_ROW while a signal is
    decided in part.
    """

    source: str
    shard: int
    number: int
    sequence: int
    row: int


class ShardProgress(msgspec.Struct, frozen=True):
    """One shard. Everything up to `cursors` is applied, and durable unless `is_settled` is
    false.
    """

    kind: str
    shard: int
    incarnation: str
    phase: str
    epoch: int
    number: int
    sequence: int
    event_time_ns: int
    is_settled: bool
    cursors: tuple[CursorProgress, ...]
    counts: Counters
    dedicated: tuple[int, ...] = ()
    trouble: str = ""
    """What keeps the shard from its work although it is live."""


class HostAlarm(msgspec.Struct, frozen=True):
    """How often a host has logged an alarm of one name, and when last (UTC)."""

    name: str
    count: int
    time: str


class HostHeartbeat(msgspec.Struct, frozen=True):
    """One host process, and the phases of its shards."""

    incarnation: str
    kind: str
    pid: int
    shards: dict[str, str]
    error: str = ""
    alarms: tuple[HostAlarm, ...] = ()


class ProgressNumber(msgspec.Struct, frozen=True):
    """The part of a shard's progress that a reader of its journal needs."""

    shard: int
    number: int


def cursor_progress(cursors: "list[Cursor]") -> tuple[CursorProgress, ...]:
    """Return cursors as progress shows them."""
    return tuple(
        CursorProgress(c.source.name.lower(), c.shard, c.number, c.sequence, c.row) for c in cursors
    )


def progress_subject(key: ShardKey) -> str:
    """Return the subject of a shard's progress."""
    return f"heads.{key.kind.name.lower()}.{key.shard}"


async def publish_progress(bus: Bus, key: ShardKey, progress: ShardProgress) -> None:
    """Publish a shard's progress. Raises: OperatingError."""
    await bus.publish(progress_subject(key), msgspec.json.encode(progress))
