"""A journal's frame as a history takes it: verified, decoded, and with its place in the stream."""

from typing import Any, NamedTuple

from engine.journal.frame import FrameHeader


class JournalFrame(NamedTuple):
    """A frame that counts. `sequence` is its stream sequence, `hash` is what the next frame must
    carry.
    """

    sequence: int
    header: FrameHeader
    hash: bytes
    events: list[Any]
