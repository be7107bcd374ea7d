"""The commands that other programs send, and the answers to them.

`COMMANDS_JSON` has a row for every kind of command in `engine.messages.commands`.
"""

import re
from typing import Any, NamedTuple, Union

import msgspec
from msgspec import Raw

from engine.journal.frame import ShardKind
from engine.messages import answers
from engine.messages.commands import (
    COMMANDS,
    AccountCommand,
    Command,
    CreatorCommand,
    Follow,
    OpenAccount,
    OpenCreator,
    Pause,
    ResolveOrder,
    Resume,
    ResumeCreator,
    Unfollow,
    tag_of,
)
from engine.values.ids import is_id
from engine.values.refusals import Refused
from gateways.json.account_commands import OPEN_ACCOUNT, RESOLVE_ORDER
from gateways.json.command_json import CommandJson
from gateways.json.creator_commands import OPEN_CREATOR, RESUME_CREATOR
from gateways.json.fields import (
    MessageError,
    agree,
    checked_id,
    decoded,
    element_of,
    elements,
    shown,
)
from gateways.json.subscription_commands import FOLLOW, PAUSE, RESUME, UNFOLLOW

COMMANDS_JSON: dict[type, CommandJson] = {
    OpenCreator: OPEN_CREATOR,
    ResumeCreator: RESUME_CREATOR,
    OpenAccount: OPEN_ACCOUNT,
    Follow: FOLLOW,
    Unfollow: UNFOLLOW,
    Pause: PAUSE,
    Resume: RESUME,
    ResolveOrder: RESOLVE_ORDER,
}

_WRONG_TYPE = re.compile(r"Invalid (?:enum )?value (.*) - at `\$\.type`\Z", re.DOTALL)
_READERS = {entry.fields: entry.read for entry in COMMANDS_JSON.values()}
_encode = msgspec.json.Encoder().encode


class _Object(NamedTuple):
    """The objects that may stand on a subject: their decoder, and a text that lists their types."""

    decoder: msgspec.json.Decoder[Any]
    types: str


def _object_of(taken_by: ShardKind) -> _Object:
    kinds = [kind for kind in COMMANDS_JSON if COMMANDS[kind].taken_by is taken_by]
    tags = [tag_of(kind) for kind in kinds]
    types = " or ".join(tags) if len(tags) == 2 else f"one of {', '.join(tags)}"
    fields: Any = Union[tuple(COMMANDS_JSON[kind].fields for kind in kinds)]  # noqa: UP007
    return _Object(msgspec.json.Decoder(fields), types)


_CREATOR_OBJECT = _object_of(ShardKind.CREATOR)
_ACCOUNT_OBJECT = _object_of(ShardKind.FOLLOWER)

# Reading.


def decode_command(subject: str, data: bytes) -> Command:
    """Read a request on `commands.creator.<creator_id>` or `commands.account.<account_id>`. Raises:
    MessageError.
    """
    tokens = subject.split(".")
    if (
        len(tokens) != 3
        or tokens[0] != "commands"
        or tokens[1] not in ("creator", "account")
        or not is_id(tokens[2])
    ):
        raise MessageError(
            "subject",
            "subject: expected commands.creator.<id> or "
            "commands.account.<id>, an id being 1 to 64 of [A-Za-z0-9_-], "
            f"found {shown(subject)}",
        )
    if tokens[1] == "creator":
        return _creator_command(Raw(data), tokens[2])
    return _account_command(Raw(data), tokens[2])


def decode_bulk(data: bytes) -> list[AccountCommand | MessageError]:
    """Read a request on `commands.bulk`: an array of account commands, each naming its account.

    Returns: per element the command, or what is wrong with it alone. Raises: MessageError when it
    is no array. Cost: 3 us per command.
    """
    commands: list[AccountCommand | MessageError] = []
    if data.lstrip(b" \t\r\n")[:1] != b"[":
        raise MessageError(
            "malformed",
            f"commands.bulk: expected an array, found {len(data)} bytes of something else",
        )
    for element in elements(data):
        try:
            commands.append(_account_command(element, None))
        except MessageError as error:
            commands.append(error)
    return commands


def _creator_command(element: Raw, creator_id: str) -> CreatorCommand:
    found = _read(element, _CREATOR_OBJECT)
    agree(found.creator_id, creator_id, "creator_id")
    command_id = checked_id(found.command_id, "command_id")
    command: CreatorCommand = _READERS[type(found)](found, command_id, creator_id)
    return command


def _account_command(element: Raw, subject_account: str | None) -> AccountCommand:
    found = _read(element, _ACCOUNT_OBJECT)
    command_id = checked_id(found.command_id, "command_id")
    if subject_account is None:
        if found.account_id is None:
            raise MessageError(
                "missing", "account_id: expected in each command of commands.bulk, found none"
            )
        account_id = checked_id(found.account_id, "account_id")
    else:
        agree(found.account_id, subject_account, "account_id")
        account_id = subject_account
    command: AccountCommand = _READERS[type(found)](found, command_id, account_id)
    return command


def _read(element: Raw, expected: _Object) -> Any:
    try:
        return element_of(expected.decoder, element)
    except MessageError as error:
        wrong = _WRONG_TYPE.search(str(error))
        if wrong is None:
            raise
        raise MessageError(
            "malformed", f"type: expected {expected.types}, found {wrong[1]}"
        ) from None


# Answering.


class CommandAnswer(msgspec.Struct, omit_defaults=True):
    """An answer as a client reads it; `sequence` and `epoch` of the frame that holds the command
    where it was accepted.
    """

    ok: bool
    reason: str = ""
    error: str = ""


def encode_answer(command: Command, answer: answers.Answer) -> bytes:
    """Write the answer to one command."""
    if isinstance(answer, Refused):
        return encode_refused(answer.reason, answer.text)
    expected = COMMANDS[type(command)].answer
    assert type(answer) is expected, f"expected {expected.__name__}, found {answer}"
    names = COMMANDS_JSON[type(command)].answer
    fields = dict(zip(names, answer, strict=True))
    return _encode({"ok": True, "command_id": command.command_id, **fields})


def encode_ok(**fields: Any) -> bytes:
    """Write `{"ok": true, ...}`: only once the command is durable (P3)."""
    return _encode({"ok": True, **fields})


def encode_refused(reason: str, error: str) -> bytes:
    """Write `{"ok": false, "reason": code, "error": text}`."""
    return _encode({"ok": False, "reason": reason, "error": error[:300]})


def encode_answers(encoded: list[bytes]) -> bytes:
    """Join the answers to a bulk request, in its order."""
    return b"[" + b",".join(encoded) + b"]"


def decode_answer(data: bytes) -> CommandAnswer:
    """Read one answer. Raises: MessageError."""
    return decoded(msgspec.json.Decoder(CommandAnswer).decode, data, "answer")
