"""Reading a journal: which frames count, and when its history is broken.

Frames of a shard form one chain: each numbers one more than the one before and carries its hash. A frame of a lower epoch than one seen was
written by a superseded owner and is dropped (P5); any other break is fail-stop for the shard (P6).
"""

from engine.frame import NO_HASH, FrameHead, ShardKey, decode_head, frame_hash


class ChainBrokenError(Exception):
    """A journal's history does not hold together: its shard must stop and an operator must look."""


class Chain:
    """Follows one shard's journal from a known frame, or from its beginning."""

    __slots__ = ("dropped", "epoch", "hash", "key", "number")

    def __init__(self, key: ShardKey, *, number: int = 0, hash: bytes = NO_HASH, epoch: int = 0) -> None:
        self.key = key
        self.number = number
        self.hash = hash
        self.epoch = epoch
        self.dropped = 0

    def accept(self, data: bytes) -> FrameHead | None:
        """Take the next stored frame. Returns: its head, or None when it does not count. Raises: ChainBrokenError, FrameError."""
        head, _ = decode_head(data)
        if head.key != self.key:
            raise ChainBrokenError(f"journal of {self.key}: expected its own frames, found one of {head.key}")
        if head.epoch < self.epoch:
            self.dropped += 1
            return None
        if head.number != self.number + 1 or head.previous_hash != self.hash:
            raise ChainBrokenError(
                f"journal of {self.key}: expected frame {self.number + 1} after {self.hash.hex()[:12]}, found frame {head.number}"
                f" of epoch {head.epoch} after {head.previous_hash.hex()[:12]}; history was lost or rewritten"
            )
        self.epoch, self.number, self.hash = head.epoch, head.number, frame_hash(data)
        return head

    def rejoin(self, data: bytes, *, number: int, hash: bytes) -> FrameHead:
        """Check that a stored frame is the known one, and go on from it. Returns: its head. Raises: ChainBrokenError."""
        head, _ = decode_head(data)
        if head.number != number or frame_hash(data) != hash:
            raise ChainBrokenError(
                f"journal of {self.key}: expected frame {number} with hash {hash.hex()[:12]}, found frame {head.number} with another;"
                " history was rewritten"
            )
        self.epoch, self.number, self.hash = head.epoch, number, hash
        return head
