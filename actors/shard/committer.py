"""Group commit: one frame in flight, the next decided meanwhile, nothing released before its frame
is durable (P3).

What a frame releases (answers, dead letters, headers) is given with it and done after the
acknowledgement. State is ahead of the journal by at most the frame in flight and what its shard
keeps for the next; if that is lost, so is the shard, and its successor replays what is durable.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog

from actors.errors import OperatingError
from actors.shard.journal_writer import Frame, JournalWriter
from engine.journal.cursors import NO_HASH, Cursor

_log = structlog.get_logger()

Output = Callable[[], Awaitable[None]]
TURNS_TO_SOCKET = 2
"""Turns of the loop from starting an append until its bytes are on the wire, with one to spare.

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
        """Begin to send a frame once the one before is durable. Raises: ShardLostError of the one
        before.
        """
        frame = self.writer.encode(events, cursors, event_time_ns)
        began_ns = time.monotonic_ns()
        await self.settle()
        self.waited_ns += time.monotonic_ns() - began_ns
        self._in_flight = asyncio.create_task(
            self._append(frame, outputs), name=f"append {self.writer.key}"
        )

    async def leave(self) -> None:
        """Wait until what is in flight has left this process, for whoever goes on without waiting
        for it.
        """
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
        self.durable_number, self.durable_hash = frame.header.number, frame.hash
        self.durable_cursors = frame.header.cursors
        if len(outputs) == 1:
            await self._release(outputs[0])
        else:
            await asyncio.gather(*(self._release(output) for output in outputs))

    async def _release(self, output: Output) -> None:
        try:
            await output()
        except OperatingError as error:
            # An answer or a header that does not arrive is asked for again.
            _log.warning("output_lost", shard=str(self.writer.key), error=str(error))
