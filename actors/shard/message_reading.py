"""Reading a message part by part over several turns. A broker may send 100,000 executions in one
message, and everything else in the process waits while a turn lasts.

A part is a fill, a mark, or a section of executions. A message is read whole before any of it is
decided, because a wrong part refuses all of it.
"""

import asyncio
from collections.abc import Iterator
from itertools import islice
from typing import Generic, TypeVar

from actors.ports import StoredMessage

T = TypeVar("T")
PARTS_EACH = 1_000
"""The most parts that one turn reads. A part takes 10 to 20 us."""


class MessageReading(Generic[T]):
    """A message being read. `parts` are those that were read so far."""

    def __init__(self, message: StoredMessage, walk: Iterator[T]) -> None:
        self.message = message
        self.parts: list[T] = []
        self._walk = walk

    def read_on(self) -> bool:
        """Read some more parts. Returns: whether all are read. Raises: BadInputError."""
        before = len(self.parts)
        self.parts += islice(self._walk, PARTS_EACH)
        return len(self.parts) < before + PARTS_EACH

    async def read_whole(self) -> list[T]:
        """Read the rest, and give the loop back now and then. Returns: all parts. Raises:
        BadInputError.
        """
        is_read = self.read_on()
        while not is_read:
            await asyncio.sleep(0)
            is_read = self.read_on()
        return self.parts
