"""The owner's side of a shard's journal: fence, append one frame at a time, notice when the shard
is lost.

An unknown outcome is settled by reading the subject's tail. It shows the frame that was sent, the
frame before it, or another owner's. A frame of a lower epoch at the tail is stepped over, and so is
a message that is no frame. A frame of a higher epoch means that the shard is lost (P5).
"""

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

import structlog

from actors.backoff import Backoff
from actors.counters import Counters
from actors.errors import OutcomeUnknownError, ShardLostError, StreamFullError, TransientError
from actors.journal.foreign_messages import ForeignMessages
from actors.journal.reading import epoch_of, last_that_counts, read_after
from actors.ports import Journal, StoredMessage
from actors.retry import BACKOFF_S_MAX, BACKOFF_S_MIN, retry_until_done
from engine.journal.cursors import NO_HASH, Cursor
from engine.journal.events.shard import OwnerFenced
from engine.journal.frame import (
    FrameHeader,
    ShardKey,
    decode_header,
    encode_frame,
    frame_hash,
    is_frame,
)

_log = structlog.get_logger()


class EncodedFrame(NamedTuple):
    """A frame on its way to the journal."""

    header: FrameHeader
    data: bytes
    hash: bytes


class JournalWriter:
    """Appends frames of one shard under one epoch.

    `encode` numbers a frame at once, so the next one can be decided while it is on its way.
    `append` must be awaited in the same order.
    """

    def __init__(
        self,
        journal: Journal,
        key: ShardKey,
        incarnation: str,
        foreign: ForeignMessages | None = None,
    ) -> None:
        self._journal = journal
        self._incarnation = incarnation
        self._foreign = foreign or ForeignMessages(str(key), Counters())
        self.key = key
        self.epoch = 0
        self.number = 0
        self.hash = NO_HASH
        self.sequence = 0
        self.event_time_ns = 0

    async def fence(self, now_ns: int) -> None:
        """Take the shard over: append a fence frame of a higher epoch. Afterwards `sequence` is the
        fence's.
        """
        while True:
            tail = await retry_until_done(
                f"tail of {self.key}", lambda: self._journal.tail(self.key)
            )
            last = await last_that_counts(self._journal, tail, self.key) if tail else None
            frame = self._fence_frame(last, now_ns)
            try:
                self.sequence = await self._journal.append(
                    self.key,
                    frame.data,
                    # Two owners that fence at once make the same number. A server that checks
                    # message ids first must be able to tell them apart.
                    message_id=f"{self._message_id(frame)}/{self._incarnation}",
                    expected_sequence=tail.sequence if tail else 0,
                )
            except OutcomeUnknownError:
                # Reading the tail again settles it. A fence that was stored after all is superseded
                # by the next one.
                now = await retry_until_done(
                    f"tail of {self.key}", lambda: self._journal.tail(self.key)
                )
                if now is None or now.data != frame.data:
                    continue
                self.sequence = now.sequence
            except TransientError as error:
                _log.warning("fencing_again", shard=str(self.key), error=str(error))
                await asyncio.sleep(BACKOFF_S_MIN)
                continue
            self._advance(frame)
            return

    def _fence_frame(self, tail: StoredMessage | None, now_ns: int) -> EncodedFrame:
        if tail is None:
            header = FrameHeader(self.key, 1, 1, now_ns, NO_HASH, ())
        else:
            last, _ = decode_header(tail.data)
            time_ns = max(last.event_time_ns, now_ns)
            header = FrameHeader(
                self.key, last.epoch + 1, last.number + 1, time_ns, frame_hash(tail.data), ()
            )
        data = encode_frame(header, [OwnerFenced(self._incarnation)])
        return EncodedFrame(header, data, frame_hash(data))

    def encode(
        self, events: Sequence[Any], cursors: tuple[Cursor, ...], event_time_ns: int
    ) -> EncodedFrame:
        """Make the next frame of the chain."""
        assert event_time_ns >= self.event_time_ns, "event time never goes back"
        header = FrameHeader(
            self.key, self.epoch, self.number + 1, event_time_ns, self.hash, cursors
        )
        data = encode_frame(header, events)
        frame = EncodedFrame(header, data, frame_hash(data))
        self._advance(frame)
        return frame

    def _advance(self, frame: EncodedFrame) -> None:
        self.epoch, self.number, self.hash = frame.header.epoch, frame.header.number, frame.hash
        self.event_time_ns = frame.header.event_time_ns

    async def append(self, frame: EncodedFrame) -> int:
        """Store a frame. Returns: its stream sequence, once durable. Raises: ShardLostError."""
        backoff = Backoff(BACKOFF_S_MIN, BACKOFF_S_MAX)
        while True:
            try:
                self.sequence = await self._journal.append(
                    self.key,
                    frame.data,
                    message_id=self._message_id(frame),
                    expected_sequence=self.sequence,
                )
                return self.sequence
            except OutcomeUnknownError as error:
                _log.warning(
                    "append_unknown",
                    shard=str(self.key),
                    number=frame.header.number,
                    error=str(error),
                )
                stored = await self._settle(frame)
                if stored is not None:
                    return stored
            except StreamFullError as error:
                _log.error("stream_full", shard=str(self.key), error=str(error), alarm=True)
            except TransientError as error:
                _log.warning("append_again", shard=str(self.key), error=str(error))
            await asyncio.sleep(backoff.next_s())

    async def _settle(self, frame: EncodedFrame) -> int | None:
        """Find out whether a frame was stored. Returns: its sequence, or None when it was not."""
        before = self.sequence
        tail = await retry_until_done(f"tail of {self.key}", lambda: self._journal.tail(self.key))
        if tail is None or tail.sequence < before:
            raise ShardLostError(
                f"{self.key}: expected the journal to end at sequence "
                f"{before} or later; its history was lost"
            )
        if tail.sequence == before:
            return None
        later = await read_after(self._journal, self.key, before)
        stored: int | None = None
        for message in later:
            # A superseded owner's frame may be among them, or a foreign message. Readers step over
            # it, and the next append expects its sequence.
            self.sequence = message.sequence
            if not is_frame(message.data):
                self._foreign.step_over(message)
                continue
            epoch = epoch_of(message)
            if epoch > frame.header.epoch:
                raise ShardLostError(
                    f"{self.key}: epoch {epoch} has taken over from epoch {frame.header.epoch}"
                )
            if message.data == frame.data:
                stored = message.sequence
        return stored

    def _message_id(self, frame: EncodedFrame) -> str:
        return f"{self.key}/{frame.header.epoch}/{frame.header.number}"
