"""The reader of a creator shard's journal: its frames in chain order, from the cursor on.

The journal's own delivery is the hint that something happened. If a feed falls silent while the
creator shard's progress is ahead of it, the reader resets the feed.
"""

from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

from actors.counters import Counters
from actors.journal.foreign_messages import ForeignMessages
from actors.ports import Feed, StoredMessage
from engine.journal.chain import Chain
from engine.journal.cursors import NO_ROW, Cursor, Source
from engine.journal.events.creator import FillApplied
from engine.journal.frame import FrameHeader, ShardKey, ShardKind, decode_events, is_frame

BEHIND_S_MAX = 2.0


class CreatorFrame(NamedTuple):
    """A frame that counts, of a creator shard's journal."""

    header: FrameHeader
    sequence: int
    hash: bytes
    events: list[Any]

    @property
    def fills(self) -> Iterator[FillApplied]:
        """The fills in the frame."""
        return (event for event in self.events if isinstance(event, FillApplied))


class SignalReader:
    """One creator shard as a follower shard reads it."""

    def __init__(
        self, creator_shard: int, cursor: Cursor | None, foreign: ForeignMessages | None = None
    ) -> None:
        self.creator_shard = creator_shard
        self.key = ShardKey(ShardKind.CREATOR, creator_shard)
        self._cursor = cursor
        self._foreign = foreign or ForeignMessages(str(self.key), Counters())
        self._chain = Chain(self.key)
        self._messages: deque[StoredMessage] = deque()
        self._feed: Feed | None = None
        self._asked_in_vain = False
        self._behind_since_s: float | None = None
        self.told_number = 0
        self._read_sequence = self.after_sequence

    @property
    def after_sequence(self) -> int:
        """The sequence after which the feed starts. The cursor's own frame is read again, to check
        that it is still the same.
        """
        return self._cursor.sequence - 1 if self._cursor else 0

    def open(self, feed: Feed) -> None:
        """Read from a feed."""
        self._feed = feed

    @property
    def dropped(self) -> int:
        """The number of dropped frames, which were of superseded owners."""
        return self._chain.dropped

    def next_frame(self) -> CreatorFrame | None:
        """Take the next frame that counts and is not wholly decided. Raises: ChainBrokenError."""
        assert self._feed is not None
        if not self._messages:
            self._messages += self._feed.take(64)
            self._asked_in_vain = not self._messages
        # One message at a time, since a backlog of full frames takes long to decode.
        while self._messages:
            frame = self._accepted(self._messages.popleft())
            if frame is not None:
                return frame
        return None

    def _accepted(self, message: StoredMessage) -> CreatorFrame | None:
        self._read_sequence = message.sequence
        cursor, data = self._cursor, message.data
        header: FrameHeader | None
        if cursor is not None and self._chain.number == 0:
            header = self._chain.rejoin(data, number=cursor.number, hash=cursor.hash)
            if cursor.row == NO_ROW:
                return None
        else:
            header = self._chain.accept(data)
            if header is None and not is_frame(data):
                self._foreign.step_over(message)
            if header is None:
                return None
        return CreatorFrame(header, message.sequence, self._chain.hash, decode_events(header, data))

    def watch(self, now_s: float) -> None:
        """Reset the feed when it has given nothing for `BEHIND_S_MAX` although the creator shard's
        progress is ahead.

        The wait is measured in time, not in turns. A shard takes a thousand turns per second, and
        must not drop messages that are on their way.
        """
        assert self._feed is not None
        if not self._asked_in_vain or self.told_number <= self._chain.number:
            self._behind_since_s = None
        elif self._behind_since_s is None:
            self._behind_since_s = now_s
        elif now_s - self._behind_since_s > BEHIND_S_MAX:
            self._behind_since_s = None
            self._feed.reset(self._read_sequence)

    async def close(self) -> None:
        """Stop reading."""
        if self._feed is not None:
            await self._feed.close()


def whole(source_shard: int, frame: CreatorFrame) -> Cursor:
    """Return the cursor of a frame that is wholly decided."""
    return Cursor(
        Source.CREATOR_JOURNAL, source_shard, frame.header.number, frame.sequence, hash=frame.hash
    )
