"""The wire format's public face: what actors, the command line and brokers written in Python use of
it. Documented in PROTOCOL.md.
"""

from engine.messages.commands import (
    AccountCommand,
    Follow,
    OpenAccount,
    OpenCreator,
    Pause,
    Resume,
    Unfollow,
)
from gateways.json.commands import (
    MODES,
    Answer,
    Command,
    decode_answer,
    decode_bulk,
    decode_command,
    encode_answers,
    encode_ok,
    encode_refused,
)
from gateways.json.fields import MessageError
from gateways.json.reports import (
    Execution,
    Fill,
    Mark,
    decode_executions,
    decode_fills,
    decode_marks,
)

__all__ = [
    "MODES",
    "AccountCommand",
    "Answer",
    "Command",
    "Execution",
    "Fill",
    "Follow",
    "Mark",
    "MessageError",
    "OpenAccount",
    "OpenCreator",
    "Pause",
    "Resume",
    "Unfollow",
    "decode_answer",
    "decode_bulk",
    "decode_command",
    "decode_executions",
    "decode_fills",
    "decode_marks",
    "encode_answers",
    "encode_ok",
    "encode_refused",
]
