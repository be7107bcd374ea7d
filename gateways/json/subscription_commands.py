"""The commands about a subscription, which an account and a creator name: `follow`, `unfollow`,
`pause`, `resume`.
"""

from collections.abc import Callable

import msgspec
from msgspec import Raw

from engine.messages.commands import Follow, Pause, Resume, Unfollow
from engine.values import units
from engine.values.copy_mode import Mode
from gateways.json.command_json import CommandJson, not_negative
from gateways.json.fields import (
    ABSENT,
    MONEY,
    RATIO,
    WEIGHT,
    MessageError,
    checked_id,
    number,
    number_or,
    shown,
)

MODES = {mode.name.lower(): int(mode) for mode in Mode}
"""`engine.values.copy_mode.Mode` by the names used in JSON."""


class _Limits(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    max_order_notional: Raw = ABSENT
    max_position_weight: Raw = ABSENT
    allow_short: bool | None = None


class _FollowJson(msgspec.Struct, tag="follow", forbid_unknown_fields=True, gc=False):
    command_id: str
    creator_id: str
    cash: Raw
    account_id: str | None = None
    mode: str | None = None
    ratio: Raw = ABSENT
    amount: Raw = ABSENT
    limits: _Limits | None = None


class _OfCreatorJson(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The fields of a command that says nothing but which subscription is meant."""

    command_id: str
    creator_id: str
    account_id: str | None = None


class _UnfollowJson(_OfCreatorJson, tag="unfollow"):
    pass


class _PauseJson(_OfCreatorJson, tag="pause"):
    pass


class _ResumeJson(_OfCreatorJson, tag="resume"):
    pass


_NO_LIMITS = _Limits()


def _follow(found: _FollowJson, command_id: str, account_id: str) -> Follow:
    mode = MODES.get(found.mode or "proportional")
    if mode is None:
        raise MessageError(
            "mode", f"mode: expected one of {', '.join(MODES)}, found {shown(found.mode or '')}"
        )
    amount = not_negative(number_or(found.amount, MONEY, "amount", 0), "amount")
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
        not_negative(
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


def _of_creator(
    kind: type[Unfollow | Pause | Resume],
) -> Callable[[_OfCreatorJson, str, str], Unfollow | Pause | Resume]:
    """Return the reader of a command that says nothing but which subscription is meant."""

    def read(found: _OfCreatorJson, command_id: str, account_id: str) -> Unfollow | Pause | Resume:
        return kind(command_id, account_id, checked_id(found.creator_id, "creator_id"))

    return read


FOLLOW = CommandJson(_FollowJson, _follow, ("subscription", "from_frame"))
UNFOLLOW = CommandJson(_UnfollowJson, _of_creator(Unfollow), ("subscription", "until_frame"))
PAUSE = CommandJson(_PauseJson, _of_creator(Pause), ("subscription",))
RESUME = CommandJson(_ResumeJson, _of_creator(Resume), ("subscription",))
