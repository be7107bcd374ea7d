"""The outcome of a command to a creator shard."""

from typing import Any, NamedTuple

from engine.messages.answers import Answer


class CommandOutcome(NamedTuple):
    """An answer, and the event to apply: None when the command is refused or a repeat."""

    answer: Answer
    event: Any = None
    replayed: tuple[tuple[int, int], ...] = ()
    """The quarantined fills that are decided again after the event: each message's sequence in the
    ingress stream, and the fill's position in the message. If one of them cannot be read, the
    command changes nothing.
    """
