"""A broker's JSON answers to order messages, as the sections of an answer's block.

A wrong answer counts as no answer: each function that reads raises SectionError, whose text names
the field, what was expected and what was found.
"""

import re

import msgspec
import numpy as np

from engine.columns.section_types import SectionError, column_of
from engine.messages.blocks import (
    BlockAnswered,
    ExecutionsStated,
    HistoryStated,
    OrdersKnown,
    OrdersLookedUp,
    RefusalCode,
)
from engine.values.ids import DEDICATED_SHARDS_MAX
from gateways.json.fields import MessageError, decoded, short_text, shown
from gateways.json.orders import FrameJson, MessageJson, ids_looked_up

ANSWER_BYTES_MAX = 8 << 20
REFUSAL_CHARACTERS_MAX = 1000
"""A longer refusal is cut."""
LEDGER_CHARACTERS_MAX = 64
PREFIX_CHARACTERS_MAX = 128
_INT_MAX = (1 << 63) - 1
_HASH = re.compile(r"[0-9a-f]{16}\Z")


class ExecutionsJson(msgspec.Struct, frozen=True):
    """The executions of one follower shard in a ledger: ids are `prefix` and a number."""

    follower_shard: int
    prefix: str
    last_number: int
    confirmed_number: int


class HistoryJson(msgspec.Struct, frozen=True):
    """What a ledger holds."""

    ledger: str
    confirmed_sequence: int
    frames: list[FrameJson]
    executions: list[ExecutionsJson]


class AnswerJson(msgspec.Struct, frozen=True):
    """A broker's answer to one message. `known` answers look-ups, `history` an introduction."""

    accepted: int
    repeated: int
    code: int
    refusal: str = ""
    known: list[str] | None = None
    history: HistoryJson | None = None


_decode = msgspec.json.Decoder(AnswerJson).decode


def read_answer(data: bytes, message: MessageJson) -> AnswerJson:
    """Read the answer to a message. Raises: SectionError."""
    try:
        if len(data) > ANSWER_BYTES_MAX:
            raise MessageError(
                "size", f"answer: expected at most {ANSWER_BYTES_MAX} bytes, found {len(data)}"
            )
        answer = decoded(_decode, data, "answer")
        _check(answer, message)
    except MessageError as error:
        raise SectionError(str(error)) from None
    return answer


def answered(answer: AnswerJson) -> BlockAnswered:
    """Return what an answer says of its orders."""
    refusal = answer.refusal[:REFUSAL_CHARACTERS_MAX]
    return BlockAnswered(answer.accepted, answer.repeated, refusal, answer.code)


def known_of(section: OrdersLookedUp, known: set[str]) -> OrdersKnown:
    """Return which orders of a look-up are among the known ones."""
    rows = np.array([each in known for each in ids_looked_up(section)], np.bool_)
    return OrdersKnown(section.follower_shard, section.key, section.subscriptions[rows])


def stated(history: HistoryJson) -> list[HistoryStated | ExecutionsStated]:
    """Return the sections that state a history."""
    frames = sorted(history.frames, key=lambda each: each.follower_shard)
    return [
        HistoryStated(
            history.ledger,
            history.confirmed_sequence,
            column_of(*(each.follower_shard for each in frames)),
            column_of(*(each.frame for each in frames)),
            column_of(*(_signed(each.frame_hash) for each in frames)),
            column_of(*(each.frame_sequence for each in frames)),
        ),
        *(
            ExecutionsStated(
                each.follower_shard, each.prefix, each.last_number, each.confirmed_number
            )
            for each in history.executions
        ),
    ]


def _signed(text: str) -> int:
    value = int(text, 16)
    return value - (1 << 64) if value >> 63 else value


def _check(answer: AnswerJson, message: MessageJson) -> None:
    for what in ("accepted", "repeated", "code"):
        _check_range(getattr(answer, what), what)
    is_refused = answer.code != RefusalCode.NONE
    if is_refused != bool(answer.refusal):
        expected = f"a text with code {answer.code}" if is_refused else "none with code 0"
        raise MessageError(
            "malformed", f"refusal: expected {expected}, found {shown(answer.refusal)}"
        )
    if not is_refused and message.look_ups:
        _check_known(answer.known, message.look_ups)
    if answer.history is not None:
        _check_history(answer.history)


def _check_known(known: list[str] | None, asked: list[str]) -> None:
    if known is None:
        raise MessageError(
            "missing", f"known: expected the known ones of {len(asked)} order ids, found none"
        )
    strangers = set(known) - set(asked)
    if strangers:
        raise MessageError(
            "order_id",
            f"known: expected only order ids that were looked up, found {shown(min(strangers))}",
        )


def _check_history(history: HistoryJson) -> None:
    short_text(history.ledger, "ledger", LEDGER_CHARACTERS_MAX)
    _check_range(history.confirmed_sequence, "confirmed_sequence")
    _check_shards([each.follower_shard for each in history.frames], "frames")
    _check_shards([each.follower_shard for each in history.executions], "executions")
    for frame in history.frames:
        _check_range(frame.frame, "frame")
        _check_range(frame.frame_sequence, "frame_sequence")
        if _HASH.match(frame.frame_hash) is None:
            raise MessageError(
                "malformed",
                "frame_hash: expected 16 hexadecimal digits as they came, found "
                f"{shown(frame.frame_hash)}",
            )
    for executions in history.executions:
        short_text(executions.prefix, "prefix", PREFIX_CHARACTERS_MAX)
        _check_range(executions.last_number, "last_number")
        _check_range(executions.confirmed_number, "confirmed_number")


def _check_shards(shards: list[int], what: str) -> None:
    for shard in shards:
        if not 0 <= shard < DEDICATED_SHARDS_MAX:
            raise MessageError(
                "malformed",
                f"{what}: follower_shard: expected 0 to {DEDICATED_SHARDS_MAX - 1}, found {shard}",
            )
    if len(set(shards)) != len(shards):
        raise MessageError("malformed", f"{what}: expected each follower_shard once, found more")


def _check_range(value: int, what: str) -> None:
    if not 0 <= value <= _INT_MAX:
        raise MessageError("number", f"{what}: expected 0 to {_INT_MAX}, found {str(value)[:40]}")
