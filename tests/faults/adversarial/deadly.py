"""Inputs that crash their shard each time: by an exception, or by the end of the whole process.

No code of the project is replaced. The poison sits in what a shard is given (message format,
settings, broker's name), where a fault of ours or of a library would sit.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

from engine.journal.frame import ShardKey
from engine.messages.blocks import Report
from engine.messages.commands import CreatorCommand
from engine.messages.inputs import FillInput, MarkInput
from engine.values.instruments import InstrumentTerms
from gateways.json.format import JsonFormat
from gateways.memory.journal import MemoryJournal
from gateways.memory.server import MemoryServer

POISON = "POISON"
"""A symbol, an account or any other text whose holder cannot be decided."""


class MortalJournal(MemoryJournal):
    """The journal as one process has it. A killed process appends nothing more.

    Its tasks are cancelled only turns of the loop later. Until then a neighbouring shard would go
    on, which no killed process does.
    """

    def __init__(self, server: MemoryServer, whole: MemoryJournal) -> None:
        super().__init__(server)
        self._whole = whole
        self.is_killed = False

    async def append(
        self, key: ShardKey, data: bytes, *, message_id: str, expected_sequence: int
    ) -> int:
        if self.is_killed:
            await asyncio.Event().wait()
        return await self._whole.append(
            key, data, message_id=message_id, expected_sequence=expected_sequence
        )


class Deadly:
    """The effect of deciding a poison input, and a count of it. `reports_are_poison` makes every
    executions message one.
    """

    def __init__(self) -> None:
        self.count = 0
        self.kills = False
        self.reports_are_poison = False
        self.hosts: dict[str, asyncio.Task[str]] = {}
        self.journals: dict[str, MortalJournal] = {}

    def strike(self, kind: str) -> None:
        """Crash the deciding shard: by an exception, or by the end of the whole process."""
        self.count += 1
        if not self.kills:
            raise RuntimeError("poison")
        self.kill(kind)
        raise asyncio.CancelledError

    def kill(self, kind: str) -> None:
        """End a host's process: from here on it does nothing."""
        self.journals[kind].is_killed = True
        self.hosts[kind].cancel()


class DeadlyFormat(JsonFormat):
    """Reads messages, but dies of some."""

    def __init__(self, deadly: Deadly) -> None:
        self._deadly = deadly

    def fills(self, subject: str, data: bytes, sequence: int) -> Iterator[FillInput]:
        self._see(data, b"poison-fill", "creator")
        return super().fills(subject, data, sequence)

    def marks(self, subject: str, data: bytes) -> Iterator[MarkInput]:
        self._see(data, b"POISON-MARK", "creator")
        return super().marks(subject, data)

    def reports(self, subject: str, data: bytes) -> Iterator[Report]:
        self._see(data, b"poison-execution", "follower")
        if self._deadly.reports_are_poison and subject.startswith("executions.paper."):
            self._deadly.strike("follower")
        return super().reports(subject, data)

    def creator_command(self, subject: str, data: bytes) -> CreatorCommand:
        self._see(data, b"poison-command", "creator")
        return super().creator_command(subject, data)

    def _see(self, data: bytes, poison: bytes, kind: str) -> None:
        if poison in data:
            self._deadly.strike(kind)


class DeadlyInstruments(dict[str, InstrumentTerms]):
    """The terms of instruments; those of one cannot be read."""

    def __init__(self, deadly: Deadly) -> None:
        super().__init__()
        self._deadly = deadly

    def get(self, symbol: str, default: Any = None) -> Any:
        if symbol == POISON:
            self._deadly.strike("creator")
        return super().get(symbol, default)


class DeadlyDenials(frozenset[str]):
    """Denied symbols, which an entry in one of them cannot be checked against."""

    deadly: Deadly

    def __contains__(self, symbol: object) -> bool:
        if symbol == "LETHAL":
            self.deadly.strike("follower")
        return super().__contains__(symbol)


class DeadlyBroker(str):
    """The name of a broker that no account can be opened at."""

    deadly: Deadly
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        if self is not other and str.__eq__(self, str(other)):
            self.deadly.strike("follower")
        return str.__eq__(self, str(other))


class DeadlyName(str):
    """A gateway's broker name, which orders cannot be compared with while it is armed."""

    deadly: Deadly
    is_armed: bool
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        if self.is_armed:
            self.deadly.strike("gateway")
        return str.__eq__(self, str(other))
