"""Reads of a shard's journal in order, window by window."""

from actors.errors import TransientError
from actors.ports import Journal, StoredMessage
from actors.retry import retry_until_done
from engine.journal.frame import ShardKey, decode_header, is_frame

READ_BYTES_MAX = 16 << 20
FENCE_WINDOW_MIN = 16
"""The number of sequences that a takeover first looks back for the frame before the tail."""


async def read_after(
    journal: Journal, key: ShardKey, after_sequence: int, *, bytes_max: int = READ_BYTES_MAX
) -> list[StoredMessage]:
    """Read the frames after a sequence: none only if the journal ends there.

    A replica that lags may have answered. Then the journal is read again.
    """

    async def attempt() -> list[StoredMessage]:
        frames = await journal.read(key, after_sequence=after_sequence, bytes_max=bytes_max)
        if not frames:
            tail = await journal.tail(key)
            if tail is not None and tail.sequence > after_sequence:
                raise TransientError(
                    f"expected frames up to sequence {tail.sequence}, found none after "
                    f"{after_sequence}: the copy that answered lags"
                )
        return frames

    return await retry_until_done(f"frames of {key}", attempt)


def epoch_of(frame: StoredMessage) -> int:
    """Return the epoch of the owner that appended a frame."""
    return decode_header(frame.data)[0].epoch


async def newest_frame(journal: Journal, key: ShardKey) -> StoredMessage | None:
    """Find the newest frame of a journal, None when it has none. A message that is no frame may
    stand behind it.
    """
    tail = await journal.tail(key)
    if tail is None or is_frame(tail.data):
        return tail
    return await last_that_counts(journal, tail, key)


async def last_that_counts(
    journal: Journal, tail: StoredMessage, key: ShardKey
) -> StoredMessage | None:
    """Find the frame that the next one follows, None when there is none. A superseded owner's frame
    or a foreign message may have slipped in behind it, and the chain does not go on from that one.
    """
    window = FENCE_WINDOW_MIN
    while True:
        start = after = max(tail.sequence - 1 - window, 0)
        # Only one frame is kept, since a window may hold much of a journal.
        last: StoredMessage | None = None
        while after < tail.sequence and (frames := await read_after(journal, key, after)):
            after = frames[-1].sequence
            for frame in frames:
                if frame.sequence < tail.sequence:
                    last = _later(last, frame)
        if last is not None or start == 0:
            return _later(last, tail)
        window *= 16


def _later(last: StoredMessage | None, found: StoredMessage) -> StoredMessage | None:
    """Return which of two messages counts more: the later one, unless a newer owner superseded it
    or it is no frame.
    """
    if not is_frame(found.data):
        return last
    return found if last is None or epoch_of(found) >= epoch_of(last) else last
