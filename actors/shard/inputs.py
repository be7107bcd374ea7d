"""Inputs by name: which message or command an owner was at when it ended."""

from typing import NamedTuple

from actors.ports import StoredMessage
from actors.shard.dead_letters import SUBJECT_CHARS_MAX
from engine.columns.state import hash_64
from engine.journal.cursors import Source
from engine.journal.events.shard import InputAttempted


class PoisonError(Exception):
    """An input that crashes its shard cannot be left out: the shard stops until an operator starts
    it again.
    """


class Input(NamedTuple):
    """Which input, as in `InputAttempted`."""

    source: int
    shard: int
    sequence: int
    position: int
    row: int
    subject: str


def input_of(event: InputAttempted) -> Input:
    """Name the input of an event."""
    return Input(
        event.source, event.shard, event.sequence, event.position, event.row, event.subject
    )


def message_input(source: Source, message: StoredMessage, position: int) -> Input:
    """Name a stream's message, or a part of it."""
    return Input(source, 0, message.sequence, position, 0, message.subject[:SUBJECT_CHARS_MAX])


def command_input(name: str) -> Input:
    """Name a command, which has no place in a stream."""
    return Input(0, 0, 0, 0, 0, name[:SUBJECT_CHARS_MAX])


def command_name(subject: str, data: bytes) -> str:
    """Name a command by its bytes, before anything has read them: sent again, they are the same."""
    return f"{subject[:150]} {hash_64(data.hex()) & (1 << 64) - 1:016x}"
