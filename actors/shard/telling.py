"""Telling how a shard stands: its progress, and the answer to an inspection.

Progress follows each frame, is repeated every 200 ms, and is limited in rate. Clients and other
shards take it as a hint that they are behind.
"""

import asyncio
import time
from copy import copy

import msgspec

from actors.counters import Counters
from actors.ports import Bus, Request
from actors.rate_limit import RateLimit
from actors.shard.hooks import ShardHooks
from actors.shard.outputs import FramelessAnswers
from actors.shard.progress import ShardProgress, cursor_progress, publish_progress
from actors.shard.recovery import Phase
from actors.shard.standing import ShardStanding
from engine.columns.state import state_hash
from engine.journal.cursors import Cursor, Source
from engine.values.units import NS_PER_S

PROGRESS_PER_S = 10
"""The rate at which progress follows frames under load, where the kind of shard sets no other. One
message per frame would cost as much as the frame, at the sender and at each receiver (`latency`).
"""
PROGRESS_AT_ONCE = 8
"""The number of frames in a row that progress follows at once after a pause."""


class Telling:
    """The progress of one shard."""

    def __init__(
        self,
        bus: Bus,
        standing: ShardStanding,
        hooks: ShardHooks,
        counters: Counters,
        answers: FramelessAnswers,
        arrived: asyncio.Event,
        *,
        per_s: int,
    ) -> None:
        self._bus = bus
        self._standing = standing
        self._hooks = hooks
        self._counters = counters
        self._answers = answers
        self._arrived = arrived
        self._told_cursors: dict[tuple[Source, int], Cursor] = {}
        self._rate = RateLimit(per_s, burst=PROGRESS_AT_ONCE)
        self._waiting: asyncio.Task[None] | None = None

    def progress(self) -> ShardProgress:
        """Return how the shard stands."""
        standing, committer = self._standing, self._standing.committer
        settled = standing.is_settled
        cursors = standing.cursors() if settled else committer.durable_cursors
        is_live = standing.phase is Phase.LIVE
        return ShardProgress(
            kind=standing.key.kind.name.lower(),
            shard=standing.key.shard,
            incarnation=standing.incarnation,
            phase=standing.phase.value,
            epoch=committer.writer.epoch,
            number=committer.durable_number,
            sequence=committer.durable_sequence,
            event_time_ns=committer.writer.event_time_ns,
            is_settled=settled,
            cursors=cursor_progress(list(cursors)),
            counts=self._counted() if is_live else Counters(),
            dedicated=self._hooks.dedicated_shards() if is_live else (),
            trouble=standing.trouble if is_live else "",
        )

    def _counted(self) -> Counters:
        counters, committer = copy(self._counters), self._standing.committer
        self._hooks.count_into(counters)
        counters.append_us = committer.append_ns // 1000
        counters.append_wait_us = committer.waited_ns // 1000
        return counters

    @property
    def is_behind(self) -> bool:
        """True if the shard has taken inputs that led to no frame, and has not told of them.

        A client that waits for them should not have to wait for the next heartbeat.
        """
        standing = self._standing
        return standing.is_settled and standing.state.cursors != self._told_cursors

    async def tell(self) -> None:
        """Publish the progress. Raises: OperatingError."""
        standing = self._standing
        if standing.is_settled:
            self._told_cursors = dict(standing.state.cursors)
        await publish_progress(self._bus, standing.key, self.progress())

    async def tell_quietly(self) -> None:
        """Publish the progress if the bus takes it."""
        await asyncio.gather(self.tell(), return_exceptions=True)

    async def tell_now_or_soon(self) -> None:
        """Publish the progress, or leave it to the message that follows within moments. Many frames
        share one.
        """
        if self._answers:
            self._arrived.set()
        if self._waiting is not None and not self._waiting.done():
            return
        wait_ns = self._rate.take_in_turn(1, time.monotonic_ns())
        if not wait_ns:
            await self.tell()
        else:
            self._waiting = asyncio.create_task(
                self._tell_after(wait_ns / NS_PER_S), name=f"progress of {self._standing.key}"
            )

    async def _tell_after(self, wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        await self.tell_quietly()

    def inspect(self, request: Request) -> None:
        """Answer with the hash of the state. It is empty unless the shard is live and settled."""
        standing, committer = self._standing, self._standing.committer
        settled = standing.is_settled and standing.phase is Phase.LIVE
        digest = state_hash(standing.durable_state()).hex() if settled else ""
        answer = {
            "epoch": committer.writer.epoch,
            "number": committer.durable_number,
            "state_hash": digest,
            "settled": settled,
        }
        self._answers.add(request, msgspec.json.encode(answer))

    async def close(self) -> None:
        """Wait for the message that is to follow within moments."""
        if self._waiting is not None:
            await asyncio.gather(self._waiting, return_exceptions=True)
