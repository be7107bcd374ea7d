"""Opening the parties of a replay: creators one by one, accounts and subscriptions in bulk. Each
command is repeated under its id until it is answered.

Dedicated accounts come last, in requests of their own, because their answers wait until their
actors run. A refusal ends the replay and names the row.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from actors.errors import TransientError
from cluster.replay.asking import ask_within
from cluster.replay.errors import ReplayError
from cluster.replay.inputs import CreatorRow, FollowerRow, Inputs
from engine.values.units import MICROS, format_micros

BATCH_COMMANDS = 4_000
"""Commands in one message, which make frames of about 200 KB in each shard."""
CREATORS_AT_ONCE = 64
ANSWER_S_MAX = 30.0
"""The time for which a request waits for its answer before it is repeated."""
OPENING_S_MAX = 300.0
"""The time for which a request is repeated before the replay gives up."""
PAUSE_S_MIN = 0.05
T = TypeVar("T")

Request = Callable[[str, bytes], Awaitable[bytes]]
"""Sends a request on a subject. Raises: OutcomeUnknownError, TransientError."""


class _Answer(msgspec.Struct):
    ok: bool
    reason: str = ""
    error: str = ""


class Command(NamedTuple):
    """One command, and the line of the row that it comes from."""

    line: int
    body: dict[str, Any]


_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_answers = msgspec.json.Decoder(list[_Answer]).decode


async def open_all(
    request: Request,
    inputs: Inputs,
    *,
    broker: str,
    opening_s_max: float = OPENING_S_MAX,
    opened: Callable[[int], None] = lambda count: None,
) -> None:
    """Open creators, accounts and subscriptions. `opened` is told how many subscriptions each
    answered request has opened.

    Raises: ReplayError when one is refused or stays unanswered.
    """
    for first in range(0, len(inputs.creators), CREATORS_AT_ONCE):
        creators = inputs.creators[first : first + CREATORS_AT_ONCE]
        await asyncio.gather(
            *(_open_creator(request, row, broker, opening_s_max) for row in creators)
        )
    dedicated = inputs.dedicated_accounts
    packed = [row for row in inputs.followers if row.account_id not in dedicated]
    apart = [row for row in inputs.followers if row.account_id in dedicated]
    for rows, is_dedicated in ((packed, False), (apart, True)):
        commands = list(account_commands(rows, broker=broker, is_dedicated=is_dedicated))
        for first in range(0, len(commands), BATCH_COMMANDS):
            batch = commands[first : first + BATCH_COMMANDS]
            await _send_bulk(request, batch, opening_s_max)
            opened(sum(command.body["type"] == "follow" for command in batch))


def account_commands(
    rows: Sequence[FollowerRow], *, broker: str, is_dedicated: bool
) -> Iterator[Command]:
    """Yield the commands of some followers. Each account is opened once, just before its first
    subscription.
    """
    opened: set[str] = set()
    for row in rows:
        if row.account_id not in opened:
            opened.add(row.account_id)
            body = {
                "type": "open_account",
                "command_id": f"open-{row.line}",
                "account_id": row.account_id,
                "broker": broker,
            }
            yield Command(row.line, {**body, "dedicated": True} if is_dedicated else body)
        yield Command(row.line, _follow(row))


def _follow(row: FollowerRow) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    if row.max_order_notional:
        limits["max_order_notional"] = format_micros(row.max_order_notional)
    if row.max_position_weight:
        limits["max_position_weight"] = format_micros(row.max_position_weight)
    if row.allow_short:
        limits["allow_short"] = True
    body: dict[str, Any] = {
        "type": "follow",
        "command_id": f"follow-{row.line}",
        "account_id": row.account_id,
        "creator_id": row.creator_id,
        "cash": format_micros(row.cash),
        "mode": row.mode,
    }
    if row.ratio != MICROS:
        body["ratio"] = format_micros(row.ratio)
    if row.amount:
        body["amount"] = format_micros(row.amount)
    return {**body, "limits": limits} if limits else body


async def _open_creator(
    request: Request, row: CreatorRow, broker: str, opening_s_max: float
) -> None:
    subject = f"commands.creator.{row.creator_id}"
    body = {
        "type": "open_creator",
        "command_id": f"creator-{row.line}",
        "cash": format_micros(row.cash),
        "broker": broker,
    }
    data = msgspec.json.encode(body)

    async def ask() -> _Answer:
        answer = _decode_answer(await request(subject, data))
        if answer.reason == "busy":
            raise _inbox_full()
        return answer

    answer = await _ask_within(opening_s_max, subject, ask)
    if not answer.ok:
        raise ReplayError(
            f"creators.csv:{row.line}: creator {row.creator_id} was "
            f"refused: {answer.reason}: {answer.error}"
        )


async def _send_bulk(request: Request, commands: Sequence[Command], opening_s_max: float) -> None:
    """Send commands until each is answered. Those that found an inbox full are sent again, in their
    order.
    """
    left = list(commands)

    async def ask() -> None:
        nonlocal left
        data = await request(
            "commands.bulk", msgspec.json.encode([command.body for command in left])
        )
        if data.lstrip()[:1] != b"[":
            whole = _decode_answer(data)
            if whole.reason == "busy":
                raise _inbox_full()
            raise ReplayError(f"commands.bulk was refused: {whole.reason}: {whole.error}")
        answers = _decode_answers(data)
        busy = [
            command
            for command, answer in zip(left, answers, strict=True)
            if answer.reason == "busy"
        ]
        for command, answer in zip(left, answers, strict=True):
            if not answer.ok and answer.reason != "busy":
                raise ReplayError(_refused(command, answer))
        left = busy
        if busy:
            raise _inbox_full()

    await _ask_within(opening_s_max, "commands.bulk", ask)


async def _ask_within(seconds_max: float, what: str, ask: Callable[[], Awaitable[T]]) -> T:
    return await ask_within(seconds_max, what, ask, expected="an answer", pause_s_min=PAUSE_S_MIN)


def _inbox_full() -> TransientError:
    return TransientError("the inbox is full")


def _refused(command: Command, answer: _Answer) -> str:
    body = command.body
    what = f"{body['type']} of account {body['account_id']}"
    return f"followers.csv:{command.line}: {what} was refused: {answer.reason}: {answer.error}"
