"""Group commit: one frame in flight, the next decided meanwhile, nothing released before its frame is
durable (P3).

What a frame releases (answers, dead letters, heads) is given with it and done after the acknowledgement.
State is ahead of the journal by at most the frame in flight; if that is lost, so is the shard, and its
successor replays what is durable.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog

from actors.errors import OperatingError
from actors.journal_writer import Frame, JournalWriter
from actors.ports import Snapshot, Snapshots
from engine.frame import NO_HASH, Cursor
from engine.tables import State, encode_state, state_hash

_log = structlog.get_logger()

Output = Callable[[], Awaitable[None]]
SNAPSHOT_CHUNK_BYTES = 4 << 20
TURNS_TO_SOCKET = 3
"""Turns of the loop from starting an append until its bytes are on the wire: the append, the client's flusher, the loop's own write.

Going on sooner means deciding the next frame, milliseconds, before this one has left (`fanout`).
"""


class Committer:
    """Commits one shard's frames in order."""

    def __init__(self, writer: JournalWriter) -> None:
        self.writer = writer
        self.durable_number = 0
        self.durable_hash = NO_HASH
        self.durable_sequence = 0
        self.durable_cursors: tuple[Cursor, ...] = ()
        self.append_ns = 0
        """Time from handing frames over to hearing of their acknowledgements, in all."""
        self.waited_ns = 0
        """Time that a frame ready to go had to wait for the one before, in all."""
        self._in_flight: asyncio.Task[None] | None = None

    def live(self, cursors: tuple[Cursor, ...]) -> None:
        """Note that the writer's fence is durable and its state complete."""
        self.durable_number, self.durable_hash = self.writer.number, self.writer.hash
        self.durable_sequence = self.writer.sequence
        self.durable_cursors = cursors

    @property
    def is_idle(self) -> bool:
        """Whether everything decided is durable."""
        return self._in_flight is None

    @property
    def is_settled(self) -> bool:
        """Whether every frame made is durable; what it released may still be on its way out."""
        return self.durable_number == self.writer.number

    async def commit(
        self,
        events: Sequence[Any],
        cursors: tuple[Cursor, ...],
        event_time_ns: int,
        outputs: Sequence[Output],
    ) -> None:
        """Send a frame once the one before is durable. Returns when it is on its way. Raises:
        ShardLostError of the one before.
        """
        frame = self.writer.encode(events, cursors, event_time_ns)
        began_ns = time.monotonic_ns()
        await self.settle()
        self.waited_ns += time.monotonic_ns() - began_ns
        self._in_flight = asyncio.create_task(self._append(frame, outputs), name=f"append {self.writer.key}")
        for _ in range(TURNS_TO_SOCKET):
            await asyncio.sleep(0)

    async def settle(self) -> None:
        """Wait until nothing is in flight. Raises: ShardLostError."""
        if self._in_flight is not None:
            try:
                await self._in_flight
            finally:
                self._in_flight = None

    def in_flight(self) -> "asyncio.Task[None] | None":
        """Name what is in flight, to wait for it among other things."""
        return self._in_flight

    async def close(self) -> None:
        """Give up what is in flight."""
        if self._in_flight is not None:
            self._in_flight.cancel()
            await asyncio.gather(self._in_flight, return_exceptions=True)
            self._in_flight = None

    async def _append(self, frame: Frame, outputs: Sequence[Output]) -> None:
        began_ns = time.monotonic_ns()
        self.durable_sequence = await self.writer.append(frame)
        self.append_ns += time.monotonic_ns() - began_ns
        self.durable_number, self.durable_hash = frame.head.number, frame.hash
        self.durable_cursors = frame.head.cursors
        if len(outputs) == 1:
            await self._release(outputs[0])
        else:
            await asyncio.gather(*(self._release(output) for output in outputs))

    async def _release(self, output: Output) -> None:
        try:
            await output()
        except OperatingError as error:
            # An answer or a head that does not arrive is asked for again.
            _log.warning("output_lost", shard=str(self.writer.key), error=str(error))


class Snapshotter:
    """Saves a shard's state every so many frames or seconds, away from the hot path, one at a time."""

    def __init__(
        self, snapshots: Snapshots, state: Callable[[], State], *, frames_every: int, seconds_every: float
    ) -> None:
        self._snapshots = snapshots
        self._state = state
        self._frames_every = frames_every
        self._seconds_every = seconds_every
        self._saving: asyncio.Task[None] | None = None
        self._last_number = 0
        self._last_s = time.monotonic()
        self.saved = 0

    def is_due(self, committer: Committer, now_s: float) -> bool:
        """Say whether a snapshot should be taken as soon as nothing is in flight."""
        if self._saving is not None and self._saving.done():
            self._saving = None
        frames = committer.durable_number - self._last_number
        due = frames >= self._frames_every or (frames > 0 and now_s - self._last_s >= self._seconds_every)
        return due and self._saving is None

    def take(self, committer: Committer, now_s: float) -> None:
        """Copy the state as it is, all of it durable, and save it in the background."""
        assert committer.is_idle
        # What the state made for this is its own; what is still a view of live columns must be copied before the next turn.
        columns = {
            name: column if column.flags.owndata else column.copy() for name, column in self._state().items()
        }
        self._last_number, self._last_s = committer.durable_number, now_s
        writer = committer.writer
        place = Snapshot(
            writer.key,
            writer.epoch,
            committer.durable_number,
            committer.durable_sequence,
            committer.durable_hash,
            b"",
            (),
        )
        self._saving = asyncio.create_task(self._save(columns, place), name=f"snapshot {writer.key}")

    async def _save(self, columns: State, place: Snapshot) -> None:
        chunks, digest = await asyncio.to_thread(_encoded, columns)
        try:
            if await self._snapshots.save(place._replace(state_hash=digest, chunks=chunks)):
                self.saved += 1
        except OperatingError as error:
            _log.warning("snapshot_not_saved", shard=str(place.key), error=str(error))

    async def close(self) -> None:
        """Wait for the snapshot being saved."""
        if self._saving is not None:
            await asyncio.gather(self._saving, return_exceptions=True)


def _encoded(columns: State) -> tuple[tuple[bytes, ...], bytes]:
    data = encode_state(columns)
    chunks = tuple(
        data[start : start + SNAPSHOT_CHUNK_BYTES] for start in range(0, len(data), SNAPSHOT_CHUNK_BYTES)
    )
    return chunks, state_hash(columns)
