"""The barrier of a replay: when everything published is applied and journaled in every shard and no
order is open.

It listens to the progress of all shards, which come after each frame and every 200 ms, and wakes up
with each. What must hold, once the ingress stream is published up to a sequence:

    creator shard    settled, its ingress cursor has reached the sequence; its frame number is what its readers must reach
    follower shard   settled, its cursor into every creator journal is there, no signal is decided in part only, no order
                     is open, nothing is left to follow up
    gateway          (drained only) nothing queued, nothing unanswered

A progress of a lower epoch than one heard before is a superseded owner's and is ignored.
"""

import asyncio
import time
from collections.abc import Callable, Iterator

import msgspec

from actors.shard.progress import CursorProgress, ShardProgress
from cluster.replay.errors import ReplayError
from engine.journal.cursors import NO_ROW, Source

BARRIER_S_MAX = 120.0
"""Longest wait for one barrier; the replacement of a killed part takes seconds of it."""
STUCK_S_MAX = 5.0
"""How long follow-ups that wait for a later event time may be all that is left; nothing will move
that time.
"""

_CREATOR, _FOLLOWER, _GATEWAY = "creator", "follower", "gateway"
_decode_progress = msgspec.json.Decoder(ShardProgress).decode


class ProgressBarrier:
    """The newest progress of every shard, and the wait until they say that all is done."""

    def __init__(
        self,
        *,
        creator_shards: int,
        follower_shards: int,
        gateways: int,
        stuck_s_max: float = STUCK_S_MAX,
    ) -> None:
        self._creator_shards = creator_shards
        self._follower_shards = follower_shards
        self._gateways = gateways
        self._stuck_s_max = stuck_s_max
        self._progress: dict[tuple[str, int], ShardProgress] = {}
        self._changed = asyncio.Event()

    def hear(self, subject: str, reply: str, data: bytes, headers: dict[str, str] | None) -> None:
        """Take one message of `heads.>`; runs in the connection's read loop."""
        progress = _decode_progress(data)
        key = (progress.kind, progress.shard)
        known = self._progress.get(key)
        if known is None or progress.epoch >= known.epoch:
            self._progress[key] = progress
            self._changed.set()

    async def wait_applied(self, sequence: int) -> None:
        """Wait until the ingress stream up to a sequence is applied everywhere and no order is
        open. Raises: ReplayError.
        """
        await self._wait(lambda: self._not_applied(sequence))

    async def wait_drained(
        self, sequence: int, *, waiting_for: Callable[[str], None] = lambda text: None
    ) -> None:
        """Wait as `wait_applied`, and until no gateway holds anything. `waiting_for` is told what
        is missing. Raises: ReplayError.
        """

        def missing() -> str:
            lacking = self._not_applied(sequence) or self._not_sent()
            waiting_for(lacking)
            return lacking

        await self._wait(missing)

    async def _wait(self, missing: Callable[[], str]) -> None:
        began_s = time.monotonic()
        stuck_s: float | None = None
        while lacking := missing():
            now_s = time.monotonic()
            stuck_s = (stuck_s or now_s) if lacking.startswith(_STUCK) else None
            if stuck_s is not None and now_s - stuck_s > self._stuck_s_max:
                raise ReplayError(
                    f"replay: {lacking}; a broker that refuses or lets "
                    "exits expire cannot be replayed"
                )
            if now_s - began_s > BARRIER_S_MAX:
                raise ReplayError(
                    f"replay: waited {BARRIER_S_MAX:.0f} s in vain: "
                    f"{lacking}; see the logs of the data directory"
                )
            self._changed.clear()
            try:
                async with asyncio.timeout(1.0):
                    await self._changed.wait()
            except TimeoutError:
                # Silence is judged by the deadlines above.
                continue

    def _not_applied(self, sequence: int) -> str:
        """Say what is missing; empty when nothing is."""
        needed: dict[int, int] = {}
        for shard in range(self._creator_shards):
            progress = self._progress.get((_CREATOR, shard))
            if lacking := _unsettled(progress, _CREATOR, shard):
                return lacking
            assert progress is not None
            if _sequence_at(progress, Source.INGRESS) < sequence:
                return (
                    f"expected creator shard {shard} at ingress message {sequence}, "
                    f"found {_sequence_at(progress, Source.INGRESS)}"
                )
            needed[shard] = progress.number
        stuck = ""
        for shard in self._followers():
            lacking = self._not_followed(shard, needed)
            if lacking and not lacking.startswith(_STUCK):
                return lacking
            stuck = stuck or lacking
        return stuck

    def _not_followed(self, shard: int, needed: dict[int, int]) -> str:
        progress = self._progress.get((_FOLLOWER, shard))
        if lacking := _unsettled(progress, _FOLLOWER, shard):
            return lacking
        assert progress is not None
        for creator_shard, number in needed.items():
            cursor = _cursor(progress, Source.CREATOR_JOURNAL, creator_shard)
            if cursor is None or cursor.number < number or cursor.row != NO_ROW:
                found = cursor.number if cursor else 0
                return (
                    f"expected follower shard {shard} at frame {number} of "
                    f"creator shard {creator_shard}, found {found}"
                )
        if orders := progress.counts.get("open_orders", 0):
            return f"expected no open order in follower shard {shard}, found {orders}"
        if follow_ups := progress.counts.get("follow_ups", 0):
            return f"{_STUCK} in follower shard {shard}, found {follow_ups} waiting"
        return ""

    def _followers(self) -> Iterator[int]:
        """Name the follower shards: the hashed ones, and those of dedicated accounts as their home
        shards tell of them.
        """
        for shard in range(self._follower_shards):
            yield shard
            progress = self._progress.get((_FOLLOWER, shard))
            if progress is not None:
                yield from progress.dedicated

    def _not_sent(self) -> str:
        for shard in range(self._gateways):
            progress = self._progress.get((_GATEWAY, shard))
            if lacking := _unsettled(progress, _GATEWAY, shard):
                return lacking
            assert progress is not None
            if waiting := progress.counts.get("queued_orders", 0) + progress.counts.get(
                "outstanding_messages", 0
            ):
                return f"expected gateway {shard} to hold nothing, found {waiting} orders or blocks"
        return ""


_STUCK = "expected no order left to place"


def _unsettled(progress: ShardProgress | None, kind: str, shard: int) -> str:
    if progress is None:
        return f"expected a head of {kind} shard {shard}, found none"
    if progress.phase == "failed":
        raise ReplayError(
            f"replay: {kind} shard {shard} failed in "
            f"{progress.incarnation}; see its log in the data directory"
        )
    if progress.phase != "live" or not progress.is_settled:
        return (
            f"expected {kind} shard {shard} live and settled, found it "
            f"{progress.phase} at frame {progress.number}"
        )
    return ""


def _cursor(progress: ShardProgress, source: Source, shard: int) -> CursorProgress | None:
    name = source.name.lower()
    return next(
        (cursor for cursor in progress.cursors if cursor.source == name and cursor.shard == shard),
        None,
    )


def _sequence_at(progress: ShardProgress, source: Source) -> int:
    cursor = _cursor(progress, source, 0)
    return cursor.sequence if cursor else 0
