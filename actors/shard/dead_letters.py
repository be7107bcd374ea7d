"""Dead letters: messages to an operator about inputs that were refused or quarantined.

The journal holds the event, and the letter is made from it. A new owner makes it again, under the
same message id.
"""

import msgspec
import numpy as np

from actors.ports import Streams
from actors.retry import retry_until_done
from actors.shard.committer import Output
from engine.columns.state import hash_64
from engine.journal.events.shard import InputQuarantined, InputsRefused
from engine.journal.frame import ShardKey

EXCERPT_CHARS_MAX = 200
SUBJECT_CHARS_MAX = 200
TEXT_CHARS_MAX = 300


class DeadLetter(msgspec.Struct, frozen=True):
    """A dead letter's JSON: the input, a code for programs, a text for people, and the first
    characters of the input.
    """

    subject: str
    sequence: int
    reason: str
    error: str
    excerpt: str


def excerpt_of(data: bytes) -> str:
    """Return the first characters of a message."""
    return data[:EXCERPT_CHARS_MAX].decode("utf-8", "replace")


def refused_input(
    sequence: int, subject: str, reason: str, text: str, data: bytes | str
) -> InputsRefused:
    """Make the event that refuses one input, with the start of `data` as an excerpt."""
    excerpt = data if isinstance(data, str) else excerpt_of(data)
    return InputsRefused(
        np.array([sequence], np.int64),
        [subject[:SUBJECT_CHARS_MAX]],
        [f"{reason}: {text[:TEXT_CHARS_MAX]}"],
        [excerpt[:EXCERPT_CHARS_MAX]],
    )


def dead_letters(
    key: ShardKey, streams: Streams, event: InputsRefused | InputQuarantined
) -> list[Output]:
    """Make the dead letters about the inputs that an event refuses or quarantines."""
    if isinstance(event, InputQuarantined):
        return [_posted(key, streams, event.sequence, event.subject, event.reason, event.excerpt)]
    return [
        _posted(key, streams, *of_input)
        for of_input in zip(
            event.sequences.tolist(), event.subjects, event.reasons, event.excerpts, strict=True
        )
    ]


def _posted(
    key: ShardKey, streams: Streams, sequence: int, subject: str, reason: str, excerpt: str
) -> Output:
    code, _, text = reason.partition(": ")
    data = msgspec.json.encode(DeadLetter(subject, sequence, code, text, excerpt))
    # One message may have several letters. They differ somewhere, so the hash tells them apart.
    message_id = f"{key}/{subject}/{sequence}/{hash_64(data.decode()):x}"

    async def publish() -> None:
        await retry_until_done(
            "dead letter",
            lambda: streams.publish(
                f"deadletter.{key.kind.name.lower()}.{key.shard}", data, message_id=message_id
            ),
        )

    return publish
