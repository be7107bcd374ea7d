"""Names of inputs: the message or command that an owner announces before it tries it alone."""

from typing import NamedTuple

from actors.ports import StoredMessage
from actors.shard.dead_letters import SUBJECT_CHARS_MAX
from engine.columns.state import hash_64
from engine.journal.cursors import Source
from engine.journal.events.shard import InputAttempted


class Input(NamedTuple):
    """The name of one input, field for field as in `InputAttempted`."""

    source: int
    shard: int
    sequence: int
    position: int
    row: int
    subject: str


def input_of(event: InputAttempted) -> Input:
    """Return the name of the input that an event announces."""
    return Input(
        event.source, event.shard, event.sequence, event.position, event.row, event.subject
    )


def message_input(source: Source, message: StoredMessage, position: int) -> Input:
    """Return the name of a stream's message, or of a part of it."""
    return Input(source, 0, message.sequence, position, 0, message.subject[:SUBJECT_CHARS_MAX])


def command_input(name: str) -> Input:
    """Return the name of a command. It has no place in a stream, so its own name identifies it."""
    return Input(0, 0, 0, 0, 0, name[:SUBJECT_CHARS_MAX])


def command_name(subject: str, data: bytes) -> str:
    """Return a command's name, made of its bytes before anything has read them.

    A command that is sent again has the same bytes, and so the same name.
    """
    return f"{subject[:150]} {hash_64(data.hex()) & (1 << 64) - 1:016x}"
