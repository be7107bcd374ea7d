"""Reading a journal: the frames that count, and the check that its history is whole.

The frames of a shard form one chain: each frame's number is one above that of the frame before, and
each carries the hash of the frame before. A frame of a lower epoch than one already seen was
written by a superseded owner, and is dropped (P5). A message that is no frame is foreign: no owner
wrote it, and readers step over it. At any other break of the chain the shard stops (P6).

A frame of the chain whose beginning is damaged still carries the hash of the frame before it, so it
is never taken for foreign. If that is damaged too, the next frame does not fit.
"""

from engine.journal.cursors import NO_HASH
from engine.journal.frame import (
    FrameHeader,
    NoFrameError,
    ShardKey,
    carries_hash,
    decode_header,
    frame_hash,
)


class ChainBrokenError(Exception):
    """A journal's chain is broken: its shard must stop, and an operator must look."""


class Chain:
    """Follows one shard's journal from a known frame, or from its beginning."""

    __slots__ = ("dropped", "epoch", "foreign", "hash", "key", "number")

    def __init__(
        self, key: ShardKey, *, number: int = 0, hash: bytes = NO_HASH, epoch: int = 0
    ) -> None:
        self.key = key
        self.number = number
        self.hash = hash
        self.epoch = epoch
        self.dropped = 0
        self.foreign = 0

    def accept(self, data: bytes) -> FrameHeader | None:
        """Take the next stored message. Returns: its header, or None when it does not count.
        Raises: ChainBrokenError, FrameError.
        """
        try:
            header, _ = decode_header(data)
        except NoFrameError:
            self.check_foreign(data)
            self.foreign += 1
            return None
        if header.key != self.key:
            raise ChainBrokenError(
                f"journal of {self.key}: expected its own frames, found one of {header.key}"
            )
        if header.epoch < self.epoch:
            self.dropped += 1
            return None
        if header.number != self.number + 1 or header.previous_hash != self.hash:
            raise ChainBrokenError(
                f"journal of {self.key}: expected frame {self.number + 1} after "
                f"{self.hash.hex()[:12]}, found frame {header.number}"
                f" of epoch {header.epoch} after "
                f"{header.previous_hash.hex()[:12]}; history was lost or rewritten"
            )
        self.epoch, self.number, self.hash = header.epoch, header.number, frame_hash(data)
        return header

    def check_foreign(self, data: bytes) -> None:
        """Check that a message without a frame's beginning is not the chain's next frame, damaged.
        Raises: ChainBrokenError.
        """
        if self.number and carries_hash(data, self.hash):
            raise ChainBrokenError(
                f"journal of {self.key}: expected frame {self.number + 1} after "
                f"{self.hash.hex()[:12]}, found it with a damaged beginning; restore the journal"
            )

    def rejoin(self, data: bytes, *, number: int, hash: bytes) -> FrameHeader:
        """Check that a stored frame is the last known one, and go on from it. Returns: its header.
        Raises: ChainBrokenError.
        """
        header, _ = decode_header(data)
        if header.number != number or frame_hash(data) != hash:
            raise ChainBrokenError(
                f"journal of {self.key}: expected frame {number} with hash "
                f"{hash.hex()[:12]}, found frame {header.number} with another;"
                " history was rewritten"
            )
        self.epoch, self.number, self.hash = header.epoch, number, hash
        return header
