"""The public face of the JSON messages, for the command line and for brokers written in Python. The
protocol's pages describe it.
"""

from engine.messages.commands import (
    AccountCommand,
    Command,
    Follow,
    OpenAccount,
    OpenCreator,
    Pause,
    Resume,
    Unfollow,
)
from gateways.json.commands import (
    CommandAnswer,
    decode_answer,
    decode_bulk,
    decode_command,
    encode_answer,
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
    walk_executions,
    walk_fills,
    walk_marks,
)
from gateways.json.subscription_commands import MODES

__all__ = [
    "MODES",
    "AccountCommand",
    "Command",
    "CommandAnswer",
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
    "encode_answer",
    "encode_answers",
    "encode_ok",
    "encode_refused",
    "walk_executions",
    "walk_fills",
    "walk_marks",
]
