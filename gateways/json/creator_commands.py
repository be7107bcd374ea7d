"""The commands about a creator: `open_creator`, `resume_creator`."""

import msgspec
from msgspec import Raw

from engine.messages.commands import OpenCreator, ResumeCreator
from gateways.json.command_json import BROKER_DEFAULT, CommandJson, not_negative
from gateways.json.fields import MONEY, MessageError, checked_id, number, shown

RESUME_ACTIONS = ("replay", "void")


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


def _open_creator(found: _OpenCreatorJson, command_id: str, creator_id: str) -> OpenCreator:
    return OpenCreator(
        command_id,
        creator_id,
        not_negative(number(found.cash, MONEY, "cash"), "cash"),
        checked_id(found.broker or BROKER_DEFAULT, "broker"),
    )


def _resume_creator(found: _ResumeCreatorJson, command_id: str, creator_id: str) -> ResumeCreator:
    if found.action not in RESUME_ACTIONS:
        raise MessageError(
            "action", f"action: expected replay or void, found {shown(found.action)}"
        )
    return ResumeCreator(command_id, creator_id, found.action == "replay")


OPEN_CREATOR = CommandJson(_OpenCreatorJson, _open_creator, ("creator_id",))
RESUME_CREATOR = CommandJson(_ResumeCreatorJson, _resume_creator, ("creator_id", "parked"))
