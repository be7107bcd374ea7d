"""The port to the program under test: hand blocks over, read what it published, kill and start
it.
"""

import asyncio
from typing import NamedTuple, Protocol


class Sent:
    """A block that was handed over, and every answer to it so far."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.block = b""
        """What was handed over, before it was written in the program's format."""
        self.arrived = asyncio.Event()

    def answer(self, data: bytes) -> None:
        """Note an answer."""
        self.answers.append(data)
        self.arrived.set()

    def fail(self) -> None:
        """Note that nobody listened: the program does not run, or has not subscribed yet."""
        self.arrived.set()


class PublishedMessage(NamedTuple):
    """One message that the program published."""

    subject: str
    data: bytes


class BrokerProgram(Protocol):
    """A broker program. `kill` ends it as SIGKILL does; `start` returns before it is ready."""

    broker: str
    can_restart: bool

    async def send(self, block: bytes) -> Sent:
        """Hand a block over."""
        ...

    async def stored(self) -> list[PublishedMessage]:
        """Return everything published since the suite began, in order."""
        ...

    async def kill(self) -> None:
        """End the program at once."""
        ...

    async def start(self) -> None:
        """Start the program again, on what it has kept."""
        ...

    async def hold(self) -> None:
        """Let nothing that is published be stored or confirmed."""
        ...

    async def release(self) -> None:
        """Let what is published be stored again."""
        ...
