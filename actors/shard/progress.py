"""Heads: what a shard and a host tell about themselves on core NATS, after each frame and every 200
ms.

A progress is a hint: readers use it to notice that they are behind, people to see how things stand.
JSON, because people read it.
"""

import msgspec

from actors.ports import Bus
from engine.journal.cursors import Cursor
from engine.journal.frame import ShardKey

PROGRESS_PERIOD_S = 0.2


class CursorProgress(msgspec.Struct, frozen=True):
    """How far one input is taken and durable. `row` is not NO_ROW while a signal is decided in
    part.
    """

    source: str
    shard: int
    number: int
    sequence: int
    row: int


class ShardProgress(msgspec.Struct, frozen=True):
    """One shard: everything up to `cursors` is applied, and durable unless `is_settled` is
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
    counts: dict[str, int]
    dedicated: tuple[int, ...] = ()


class HostHeartbeat(msgspec.Struct, frozen=True):
    """One host process: its heartbeat."""

    incarnation: str
    kind: str
    pid: int
    shards: dict[str, str]
    error: str = ""


class ProgressNumber(msgspec.Struct, frozen=True):
    """What a reader of a shard's journal needs of its progress."""

    shard: int
    number: int


class Allowance:
    """How often something may be done: so often a second, so many at once after a pause."""

    def __init__(self, per_s: float, at_once: int) -> None:
        self._every_s = 1 / per_s
        self._spread_s = at_once / per_s
        self._used_until_s = 0.0

    def take(self, now_s: float) -> float:
        """Take the next. Returns: how long it must wait, in seconds."""
        self._used_until_s = max(self._used_until_s, now_s - self._spread_s) + self._every_s
        return self._used_until_s - now_s


def cursor_progress(cursors: "list[Cursor]") -> tuple[CursorProgress, ...]:
    """Show cursors."""
    return tuple(
        CursorProgress(c.source.name.lower(), c.shard, c.number, c.sequence, c.row) for c in cursors
    )


def progress_subject(key: ShardKey) -> str:
    """Name the subject of a shard's progress."""
    return f"heads.{key.kind.name.lower()}.{key.shard}"


async def publish_progress(bus: Bus, key: ShardKey, progress: ShardProgress) -> None:
    """Tell how a shard stands."""
    await bus.publish(progress_subject(key), msgspec.json.encode(progress))
