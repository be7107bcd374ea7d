"""Reader of one shard's frames: verified, decoded, page by page. When the journal has grown,
reading goes on where it stopped.
"""

from collections.abc import AsyncIterator

from actors.ports import Journal
from engine.history.frames import JournalFrame
from engine.journal.chain import Chain, ChainBrokenError
from engine.journal.frame import FrameError, ShardKey, decode_events

PAGE_BYTES = 16 << 20


class FrameReader:
    """Reads one shard's journal from the beginning. Frames of superseded owners are dropped and
    counted (P5), and so are messages that are no frames.
    """

    def __init__(self, journal: Journal, key: ShardKey) -> None:
        self._journal = journal
        self._failure: Exception | None = None
        self.key = key
        self.chain = Chain(key)
        self.sequence = 0
        self.bytes_read = 0
        self.foreign_first = 0
        """The sequence of the first message that is no frame, 0 for none."""

    @property
    def dropped(self) -> int:
        """The number of frames of superseded owners."""
        return self.chain.dropped

    @property
    def foreign(self) -> int:
        """The number of messages that are no frames."""
        return self.chain.foreign

    async def page(self) -> list[JournalFrame]:
        """Read the frames that follow; none at the present end of the journal.

        Raises: ChainBrokenError, FrameError; only after the sound frames before have been returned.
        """
        while True:
            if self._failure is not None:
                raise self._failure
            messages = await self._journal.read(
                self.key, after_sequence=self.sequence, bytes_max=PAGE_BYTES
            )
            if not messages:
                return []
            frames = []
            for message in messages:
                try:
                    frame = self._accept(message.sequence, message.data)
                except (ChainBrokenError, FrameError) as error:
                    self._failure = error
                    break
                if frame is not None:
                    frames.append(frame)
            if frames:
                return frames

    def _accept(self, sequence: int, data: bytes) -> JournalFrame | None:
        self.sequence = sequence
        self.bytes_read += len(data)
        header = self.chain.accept(data)
        if header is None:
            if self.chain.foreign and not self.foreign_first:
                self.foreign_first = sequence
            return None
        return JournalFrame(sequence, header, self.chain.hash, decode_events(header, data))

    async def frames(self) -> AsyncIterator[JournalFrame]:
        """Yield every frame up to the end of the journal at the moment it is reached. Raises:
        ChainBrokenError, FrameError.
        """
        while page := await self.page():
            for frame in page:
                yield frame
