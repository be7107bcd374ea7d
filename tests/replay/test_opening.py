"""Opening: every command is repeated under its id until it is answered, and a refusal names its
row.
"""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.errors import OutcomeUnknownError, TransientError
from cluster.replay.errors import ReplayError
from cluster.replay.opening import open_all
from gateways.json import public
from tests.replay.files import read

FOLLOWERS = (
    "account_id,creator_id,cash,mode,ratio,amount,max_order_notional,max_position_weight,allow_short,dedicated\n"
    "bob,ann,100,,,,,,,\nbob,ben,50,multiplier,0.5,,25,0.1,true,\ncid,ann,7,fixed_amount,,3,,,,true\n"
)


class Owner:
    """Answers as the owners would, after some failures. `taken` are the commands by id, as first
    taken.
    """

    def __init__(self, *failures: Exception | str, refused: str = "") -> None:
        self.failures = list(failures)
        self.refused = refused
        self.taken: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, list[str]]] = []

    async def request(self, subject: str, data: bytes) -> bytes:
        decoded = msgspec.json.decode(data)
        commands = decoded if isinstance(decoded, list) else [decoded]
        self.requests.append((subject, [command["command_id"] for command in commands]))
        if self.failures:
            failure = self.failures.pop(0)
            if isinstance(failure, Exception):
                raise failure
            return public.encode_refused(failure, "try again")
        answers = [self._answer(command) for command in commands]
        return public.encode_answers(answers) if isinstance(decoded, list) else answers[0]

    def _answer(self, command: dict[str, Any]) -> bytes:
        assert self.taken.setdefault(command["command_id"], command) == command
        if command["command_id"] == self.refused:
            return public.encode_refused("out_of_range", "cash: too much")
        return public.encode_ok()


async def test_each_account_is_opened_once_and_dedicated_ones_come_last(tmp_path: Path) -> None:
    owner = Owner()
    await open_all(owner.request, read(tmp_path, followers=FOLLOWERS), broker="paper")
    assert [subject for subject, _ in owner.requests] == [
        "commands.creator.ann",
        "commands.creator.ben",
        *["commands.bulk"] * 2,
    ]
    assert owner.requests[2][1] == ["open-2", "follow-2", "follow-3"]
    assert owner.requests[3][1] == ["open-4", "follow-4"]
    assert owner.taken["open-4"]["dedicated"] is True


async def test_commands_carry_every_term_as_the_protocol_reads_it(tmp_path: Path) -> None:
    owner = Owner()
    inputs = read(tmp_path, followers=FOLLOWERS)
    await open_all(owner.request, inputs, broker="paper")
    sent = [body for body in owner.taken.values() if body["type"] == "follow"]
    for body, row in zip(
        public.decode_bulk(msgspec.json.encode(sent)), inputs.followers, strict=True
    ):
        assert isinstance(body, public.Follow)
        terms = (body.account_id, body.creator_id, body.cash, body.mode, body.ratio, body.amount)
        assert terms == (
            row.account_id,
            row.creator_id,
            row.cash,
            public.MODES[row.mode],
            row.ratio,
            row.amount,
        )
        limits = (body.max_order_notional, body.max_position_weight, body.allow_short)
        assert limits == (row.max_order_notional, row.max_position_weight, row.allow_short)


async def test_unanswered_commands_are_repeated_under_the_same_ids(tmp_path: Path) -> None:
    owner = Owner(OutcomeUnknownError("no answer"), TransientError("nobody listens"), "busy")
    await open_all(owner.request, read(tmp_path), broker="paper")
    assert {identity for _, ids in owner.requests for identity in ids} == {
        "creator-2",
        "creator-3",
        "open-2",
        "follow-2",
    }
    assert len(owner.requests) == 3 + 3


async def test_a_refusal_names_its_row(tmp_path: Path) -> None:
    owner = Owner(refused="follow-2")
    with pytest.raises(
        ReplayError,
        match=r"followers.csv:2: follow of account bob was refused: out_of_range: cash: too much",
    ):
        await open_all(owner.request, read(tmp_path), broker="paper")


async def test_a_command_that_is_never_answered_ends_the_replay(tmp_path: Path) -> None:
    owner = Owner(*[TransientError("nobody listens")] * 1000)
    with pytest.raises(ReplayError, match="found: nobody listens"):
        await open_all(
            owner.request,
            read(tmp_path, creators="creator_id,cash\nann,1\n"),
            broker="paper",
            opening_s_max=0.05,
        )
