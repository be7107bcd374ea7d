"""Reads of a shard's journal in order, window by window."""

from actors.errors import TransientError
from actors.ports import Journal, StoredMessage
from actors.retry import retry_until_done
from engine.journal.frame import ShardKey

READ_BYTES_MAX = 16 << 20


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
