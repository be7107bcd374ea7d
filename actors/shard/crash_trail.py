"""The crash trail: the ends of former owners since the last progress, read from the journal's
end.
"""

from contextlib import suppress
from typing import Any

from actors.journal.backwards import frames_back
from actors.ports import Journal
from actors.shard.input_names import Input, input_of
from engine.journal.chain import ChainBrokenError
from engine.journal.cursors import NO_HASH
from engine.journal.events.shard import InputAttempted, OwnerFenced
from engine.journal.frame import FrameHeader, ShardKey, decode_frame


class CrashTrail:
    """The fences and attempts at a journal's end, after the last frame that was progress."""

    def __init__(self) -> None:
        self.fences = 0
        self.fences_after = 0
        """The number of fences after the last attempt."""
        self.attempts: list[Input] = []
        self._begins: tuple[int, bytes] | None = None

    def take(self, sequence: int, header: FrameHeader, events: list[Any]) -> None:
        """Take the next frame."""
        if events and all(isinstance(event, OwnerFenced) for event in events):
            self.fences += 1
            self.fences_after += 1
        elif events and all(isinstance(event, InputAttempted) for event in events):
            self.attempts += map(input_of, events)
            self.fences_after = 0
        else:
            self.fences = self.fences_after = 0
            self.attempts.clear()
            self._begins = 0, NO_HASH
        if self._begins is None:
            self._begins = sequence, header.previous_hash

    async def read_back(self, journal: Journal, key: ShardKey) -> None:
        """Read the frames before the first one taken, as far as they belong to the trail. A
        snapshot may have been taken in the middle of it.
        """
        sequence, wanted = self._begins or (0, NO_HASH)
        before = list[tuple[FrameHeader, list[Any]]]()
        # The journal may begin within the trail. Then there is no more of it.
        with suppress(ChainBrokenError):
            async for data in frames_back(journal, key, sequence=sequence - 1, hash=wanted):
                header, events = decode_frame(data)
                if not events or not all(
                    isinstance(each, OwnerFenced | InputAttempted) for each in events
                ):
                    break
                before.append((header, events))
        self._put_before(before)

    def _put_before(self, newest_first: list[tuple[FrameHeader, list[Any]]]) -> None:
        fences = sum(
            isinstance(event, OwnerFenced) for _, events in newest_first for event in events
        )
        attempts = [
            input_of(event)
            for _, events in reversed(newest_first)
            for event in events
            if isinstance(event, InputAttempted)
        ]
        if not self.attempts:
            for _, events in newest_first:
                if not isinstance(events[0], OwnerFenced):
                    break
                self.fences_after += 1
        self.fences += fences
        self.attempts = attempts + self.attempts

    @property
    def suspect(self) -> Input | None:
        """The last input that an owner announced and did not survive."""
        return self.attempts[-1] if self.attempts else None

    @property
    def tries(self) -> int:
        """The number of owners that ended with the suspect in hand."""
        return self.attempts.count(self.attempts[-1]) if self.attempts else 0
