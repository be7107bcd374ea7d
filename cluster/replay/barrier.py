"""The barrier of a replay: it waits until all that was published is applied and journaled in every
shard, and no order is open.

It listens to the progress of all shards, which comes after each frame and every 200 ms, and checks
again with each. Once the ingress stream is published up to a sequence, these must hold:

    creator shard    settled; its ingress cursor has reached the sequence
    follower shard   settled; its cursor into every creator journal has reached that journal's last
                     frame; no signal is decided in part; no order is open; no follow-up waits
    gateway          (drained only) nothing is queued or unanswered

Progress of a lower epoch than one heard before comes from a superseded owner and is ignored.
"""

import asyncio
import time
from collections.abc import Callable, Iterator

from actors.shard.progress import CursorProgress, ShardProgress
from cluster.replay.errors import ReplayError
from engine.journal.cursors import NO_ROW, Source
from gateways.nats.heard import Heard

BARRIER_S_MAX = 120.0
"""Longest wait for one barrier. Replacing a killed part takes seconds of it."""
STUCK_S_MAX = 5.0
"""Longest time in which only follow-ups are left that wait for a later event time, which nothing
will move.
"""

_CREATOR, _FOLLOWER, _GATEWAY = "creator", "follower", "gateway"


class ProgressBarrier:
    """The wait until every shard says that all is done."""

    def __init__(
        self,
        heard: Heard,
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
        self.heard = heard

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
            try:
                async with asyncio.timeout(1.0):
                    await self.heard.wait_news()
            except TimeoutError:
                # Silence is judged by the deadlines above.
                continue

    def _not_applied(self, sequence: int) -> str:
        """Return a sentence about what is missing, empty when nothing is."""
        needed: dict[int, int] = {}
        for shard in range(self._creator_shards):
            progress = self.heard.shards.get((_CREATOR, shard))
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
        progress = self.heard.shards.get((_FOLLOWER, shard))
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
        if orders := progress.counts.open_orders:
            return f"expected no open order in follower shard {shard}, found {orders}"
        if follow_ups := progress.counts.follow_ups:
            return f"{_STUCK} in follower shard {shard}, found {follow_ups} waiting"
        return ""

    def _followers(self) -> Iterator[int]:
        """Yield the follower shards: the hashed ones, and those of dedicated accounts, which the
        progress of their home shards names.
        """
        for shard in range(self._follower_shards):
            yield shard
            progress = self.heard.shards.get((_FOLLOWER, shard))
            if progress is not None:
                yield from progress.dedicated

    def _not_sent(self) -> str:
        for shard in range(self._gateways):
            progress = self.heard.shards.get((_GATEWAY, shard))
            if lacking := _unsettled(progress, _GATEWAY, shard):
                return lacking
            assert progress is not None
            counts = progress.counts
            if waiting := (counts.queued_orders or 0) + (counts.outstanding_messages or 0):
                return f"expected gateway {shard} to hold nothing, found {waiting} orders or blocks"
        return ""


_STUCK = "expected no order left to place"


def _unsettled(progress: ShardProgress | None, kind: str, shard: int) -> str:
    if progress is None:
        return f"expected progress of {kind} shard {shard}, found none"
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
