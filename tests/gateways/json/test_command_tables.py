"""The tables of commands agree: every command has a decider, a decoder, an answer and its place on
the protocol's pages.
"""

from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

import gateways
from engine.creator.commands import DECIDERS as CREATOR_DECIDERS
from engine.follower.decide.commands import DECIDERS as FOLLOWER_DECIDERS
from engine.journal.frame import ShardKind
from engine.messages.answers import Answer, Elsewhere
from engine.messages.commands import (
    COMMANDS,
    AccountCommand,
    Command,
    CreatorCommand,
    SubscriptionCommand,
    tag_of,
)
from engine.values.refusals import Refused
from gateways.json.commands import COMMANDS_JSON, encode_answer, encode_refused

PAGES = "".join(
    path.read_text(encoding="utf-8") for path in Path(gateways.__path__[0]).rglob("*.md")
)
KINDS = get_args(Command)
IDS = {"command_id", "creator_id", "account_id"}


def fields_of(struct: Any) -> list[str]:
    return [field.name for field in msgspec.structs.fields(struct)]


def test_every_command_has_a_row_in_the_tables_of_the_engine_and_of_the_json() -> None:
    assert set(COMMANDS) == set(KINDS)
    assert set(COMMANDS_JSON) == set(KINDS)


def test_every_command_is_decided_by_the_kind_of_shard_that_takes_it() -> None:
    def taken_by(shard: ShardKind) -> set[type]:
        return {kind for kind, row in COMMANDS.items() if row.taken_by is shard}

    assert taken_by(ShardKind.CREATOR) == set(CREATOR_DECIDERS) == set(get_args(CreatorCommand))
    assert taken_by(ShardKind.FOLLOWER) == set(FOLLOWER_DECIDERS) == set(get_args(AccountCommand))


@pytest.mark.parametrize("kind", KINDS)
def test_a_command_has_one_name_and_names_its_party(kind: Any) -> None:
    row, entry = COMMANDS[kind], COMMANDS_JSON[kind]
    party = "creator_id" if row.taken_by is ShardKind.CREATOR else "account_id"
    assert tag_of(kind) == tag_of(entry.fields)
    for struct in (kind, entry.fields):
        assert {"command_id", party} <= set(fields_of(struct))
    assert entry.fields.__struct_config__.forbid_unknown_fields
    assert ("creator_id" in fields_of(kind)) == (
        kind in get_args(SubscriptionCommand) or row.taken_by is ShardKind.CREATOR
    )


def test_no_two_commands_have_one_name() -> None:
    assert len({tag_of(kind) for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_is_written_under_the_names_of_its_command(kind: Any) -> None:
    expected, entry = COMMANDS[kind].answer, COMMANDS_JSON[kind]
    command = kind("c-1", *["x"] * (len(fields_of(kind)) - 1))
    values = range(len(expected._fields))  # type: ignore[attr-defined]
    written = msgspec.json.decode(encode_answer(command, expected(*values)))
    assert written == {
        "ok": True,
        "command_id": "c-1",
        **dict(zip(entry.answer, values, strict=True)),
    }
    assert encode_answer(command, Refused("busy", "later")) == encode_refused("busy", "later")
    with pytest.raises(AssertionError):
        encode_answer(command, Elsewhere(1, "paper"))


def test_every_answer_is_that_of_a_command() -> None:
    assert {row.answer for row in COMMANDS.values()} == set(get_args(Answer)) - {
        Refused,
        Elsewhere,
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_command_is_documented_with_its_fields_and_its_answer(kind: Any) -> None:
    entry = COMMANDS_JSON[kind]
    names = [tag_of(kind), *fields_of(entry.fields), *entry.answer]
    assert [name for name in names if name not in IDS and f"`{name}`" not in PAGES] == []
