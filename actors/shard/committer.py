"""Group commit: one frame in flight, the next decided meanwhile, nothing released before its frame
is durable (P3).

A frame is committed with its outputs (answers, dead letters, progress), which follow its
acknowledgement. The state is ahead of the journal by at most the frame in flight and the events
held for the next one. If these are lost, so is the shard, and its successor replays what is
durable.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog

from actors.errors import OperatingError
from actors.journal.writer import EncodedFrame, JournalWriter
from engine.journal.cursors import NO_HASH, Cursor

_log = structlog.get_logger()

Output = Callable[[], Awaitable[None]]
TURNS_TO_SOCKET = 2
"""Passes of the event loop from starting an append until its bytes are in the socket, with one to
spare.

If the shard went on sooner, it would decide the next frame, which takes milliseconds, before this
one has left (`fanout`).
"""


class Committer:
    """The commits of one shard's frames, in order."""

    def __init__(self, writer: JournalWriter) -> None:
        self.writer = writer
        self.durable_number = 0
        self.durable_hash = NO_HASH
        self.durable_sequence = 0
        self.durable_cursors: tuple[Cursor, ...] = ()
        self.append_ns = 0
        """Total time from handing frames over to their acknowledgements."""
        self.waited_ns = 0
        """Total time that frames ready to go waited for the one before."""
        self._in_flight: asyncio.Task[None] | None = None

    def live(self, cursors: tuple[Cursor, ...]) -> None:
        """Note that the writer's fence is durable and its state complete."""
        self.durable_number, self.durable_hash = self.writer.number, self.writer.hash
        self.durable_sequence = self.writer.sequence
        self.durable_cursors = cursors

    @property
    def is_idle(self) -> bool:
        """True while no frame is in flight, nor any output of one."""
        return self._in_flight is None

    @property
    def is_settled(self) -> bool:
        """True once every frame made is durable. Its outputs may still be on their way."""
        return self.durable_number == self.writer.number

    async def commit(
        self,
        events: Sequence[Any],
        cursors: tuple[Cursor, ...],
        event_time_ns: int,
        outputs: Sequence[Output],
    ) -> None:
        """Begin to send a frame once the one before is durable. Raises: ShardLostError, if the
        one before met it.
        """
        frame = self.writer.encode(events, cursors, event_time_ns)
        began_ns = time.monotonic_ns()
        await self.settle()
        self.waited_ns += time.monotonic_ns() - began_ns
        self._in_flight = asyncio.create_task(
            self._append(frame, outputs), name=f"append {self.writer.key}"
        )

    async def leave(self) -> None:
        """Wait until the frame in flight has left this process. For a shard that goes on without
        waiting for its acknowledgement.
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
        """The task of the frame in flight, to be waited for beside other things."""
        return self._in_flight

    async def close(self) -> None:
        """Stop waiting for the frame in flight."""
        if self._in_flight is not None:
            self._in_flight.cancel()
            await asyncio.gather(self._in_flight, return_exceptions=True)
            self._in_flight = None

    async def _append(self, frame: EncodedFrame, outputs: Sequence[Output]) -> None:
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
            # A lost answer is asked for again, and lost progress is followed by more.
            _log.warning("output_lost", shard=str(self.writer.key), error=str(error))
