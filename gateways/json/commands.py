"""The commands that other programs send, and the answers to them. What each may hold is told in
PROTOCOL.md.

Unlike in fills, a field that is not known is refused here: a misspelt limit must not pass for no
limit.
"""

import re
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from engine.messages.commands import (
    AccountCommand,
    CreatorCommand,
    Follow,
    OpenAccount,
    OpenCreator,
    Pause,
    Resume,
    ResumeCreator,
    Unfollow,
)
from engine.values import units
from engine.values.copy_mode import Mode
from engine.values.ids import is_id
from gateways.json.fields import (
    ABSENT,
    MONEY,
    RATIO,
    WEIGHT,
    MessageError,
    agree,
    checked_id,
    decoded,
    element_of,
    elements,
    number,
    number_or,
    shown,
)

MODES = {mode.name.lower(): int(mode) for mode in Mode}
"""`engine.values.copy_mode.Mode` by the names used in JSON."""
BROKER_DEFAULT = "paper"


T = TypeVar("T")
Command = CreatorCommand | AccountCommand


class _Limits(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    max_order_notional: Raw = ABSENT
    max_position_weight: Raw = ABSENT
    allow_short: bool | None = None


class _OpenCreatorJson(msgspec.Struct, tag="open_creator", forbid_unknown_fields=True, gc=False):
    command_id: str
    cash: Raw
    creator_id: str | None = None
    broker: str | None = None


class _ResumeCreatorJson(
    msgspec.Struct, tag="resume_creator", forbid_unknown_fields=True, gc=False
):
    command_id: str
    action: str
    creator_id: str | None = None


class _OpenAccountJson(msgspec.Struct, tag="open_account", forbid_unknown_fields=True, gc=False):
    command_id: str
    account_id: str | None = None
    broker: str | None = None
    dedicated: bool | None = None


class _FollowJson(msgspec.Struct, tag="follow", forbid_unknown_fields=True, gc=False):
    command_id: str
    creator_id: str
    cash: Raw
    account_id: str | None = None
    mode: str | None = None
    ratio: Raw = ABSENT
    amount: Raw = ABSENT
    limits: _Limits | None = None


class _UnfollowJson(msgspec.Struct, tag="unfollow", forbid_unknown_fields=True, gc=False):
    command_id: str
    creator_id: str
    account_id: str | None = None


CREATOR_TYPES = "open_creator or resume_creator"
RESUME_ACTIONS = ("replay", "void")


class _PauseJson(msgspec.Struct, tag="pause", forbid_unknown_fields=True, gc=False):
    command_id: str
    creator_id: str
    account_id: str | None = None


class _ResumeJson(msgspec.Struct, tag="resume", forbid_unknown_fields=True, gc=False):
    command_id: str
    creator_id: str
    account_id: str | None = None


_AccountJson = _OpenAccountJson | _FollowJson | _UnfollowJson | _PauseJson | _ResumeJson
_OF_SUBSCRIPTION: list[tuple[type, type[Unfollow | Pause | Resume]]] = [
    (_UnfollowJson, Unfollow),
    (_PauseJson, Pause),
    (_ResumeJson, Resume),
]
ACCOUNT_TYPES = "one of open_account, follow, unfollow, pause, resume"
_NO_LIMITS = _Limits()
_WRONG_TYPE = re.compile(r"Invalid (?:enum )?value (.*) - at `\$\.type`\Z", re.DOTALL)
_decode_creator_command = msgspec.json.Decoder(_OpenCreatorJson | _ResumeCreatorJson)
_decode_account_command = msgspec.json.Decoder(_AccountJson)
_encode = msgspec.json.Encoder().encode


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
        return _creator_command(_read(_decode_creator_command, Raw(data), CREATOR_TYPES), tokens[2])
    return _account_command(_read(_decode_account_command, Raw(data), ACCOUNT_TYPES), tokens[2])


def decode_bulk(data: bytes) -> list[AccountCommand | MessageError]:
    """Read a request on `commands.bulk`: an array of account commands, each naming its account.

    Returns: per element the command, or what is wrong with it alone. Raises: MessageError when it
    is no array. Cost: 3 us a command.
    """
    commands: list[AccountCommand | MessageError] = []
    if data.lstrip(b" \t\r\n")[:1] != b"[":
        raise MessageError(
            "malformed",
            f"commands.bulk: expected an array, found {len(data)} bytes of something else",
        )
    for element in elements(data):
        try:
            commands.append(
                _account_command(_read(_decode_account_command, element, ACCOUNT_TYPES), None)
            )
        except MessageError as error:
            commands.append(error)
    return commands


def _read(decoder: msgspec.json.Decoder[T], element: Raw, types: str) -> T:
    try:
        return element_of(decoder, element)
    except MessageError as error:
        wrong = _WRONG_TYPE.search(str(error))
        if wrong is None:
            raise
        raise MessageError("malformed", f"type: expected {types}, found {wrong[1]}") from None


def _creator_command(
    found: _OpenCreatorJson | _ResumeCreatorJson, creator_id: str
) -> CreatorCommand:
    agree(found.creator_id, creator_id, "creator_id")
    if isinstance(found, _ResumeCreatorJson):
        if found.action not in RESUME_ACTIONS:
            raise MessageError(
                "action", f"action: expected replay or void, found {shown(found.action)}"
            )
        command_id = checked_id(found.command_id, "command_id")
        return ResumeCreator(command_id, creator_id, found.action == "replay")
    return OpenCreator(
        checked_id(found.command_id, "command_id"),
        creator_id,
        _not_negative(number(found.cash, MONEY, "cash"), "cash"),
        checked_id(found.broker or BROKER_DEFAULT, "broker"),
    )


def _account_command(found: _AccountJson, subject_account: str | None) -> AccountCommand:
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
    if isinstance(found, _FollowJson):
        return _follow(found, command_id, account_id)
    if not isinstance(found, _OpenAccountJson):
        command = next(command for kind, command in _OF_SUBSCRIPTION if isinstance(found, kind))
        return command(command_id, account_id, checked_id(found.creator_id, "creator_id"))
    broker = checked_id(found.broker or BROKER_DEFAULT, "broker")
    return OpenAccount(command_id, account_id, broker, bool(found.dedicated))


def _follow(found: _FollowJson, command_id: str, account_id: str) -> Follow:
    mode = MODES.get(found.mode or "proportional")
    if mode is None:
        raise MessageError(
            "mode", f"mode: expected one of {', '.join(MODES)}, found {shown(found.mode or '')}"
        )
    amount = _not_negative(number_or(found.amount, MONEY, "amount", 0), "amount")
    if mode == MODES["fixed_amount"] and amount == 0:
        given = "none" if found.amount is ABSENT else shown(str(bytes(found.amount), "utf-8"))
        raise MessageError(
            "number", f"amount: expected a number above zero with mode fixed_amount, found {given}"
        )
    limits = found.limits or _NO_LIMITS
    return Follow(
        command_id,
        account_id,
        checked_id(found.creator_id, "creator_id"),
        _cash(found.cash),
        mode,
        number_or(found.ratio, RATIO, "ratio", units.MICROS),
        amount,
        _not_negative(
            number_or(limits.max_order_notional, MONEY, "max_order_notional", 0),
            "max_order_notional",
        ),
        number_or(limits.max_position_weight, WEIGHT, "max_position_weight", 0),
        bool(limits.allow_short),
    )


def _cash(raw: Raw) -> int:
    cash = number(raw, MONEY, "cash")
    if cash <= 0:
        raise MessageError(
            "number", f"cash: expected a number above zero, found {units.format_micros(cash)}"
        )
    return cash


def _not_negative(value: int, what: str) -> int:
    if value < 0:
        raise MessageError(
            "number", f"{what}: expected zero or more, found {units.format_micros(value)}"
        )
    return value


class Answer(msgspec.Struct, omit_defaults=True):
    """An answer as a client reads it; `sequence` and `epoch` of the frame that holds the command
    where it was accepted.
    """

    ok: bool
    reason: str = ""
    error: str = ""


def encode_ok(**fields: Any) -> bytes:
    """Write `{"ok": true, ...}`: only once the command is durable (P3)."""
    return _encode({"ok": True, **fields})


def encode_refused(reason: str, error: str) -> bytes:
    """Write `{"ok": false, "reason": code, "error": text}`."""
    return _encode({"ok": False, "reason": reason, "error": error[:300]})


def encode_answers(answers: list[bytes]) -> bytes:
    """Join the answers to a bulk request, in its order."""
    return b"[" + b",".join(answers) + b"]"


def decode_answer(data: bytes) -> Answer:
    """Read one answer. Raises: MessageError."""
    return decoded(msgspec.json.Decoder(Answer).decode, data, "answer")
