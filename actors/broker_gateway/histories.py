"""The comparison of a broker's ledger with the journals of this cluster.

They are two halves of one history. If one is older than the other, order ids would be used again
for other orders. So an owner compares them with each introduction, before it sends the first order.
What must be so stands in `gateways/protocol/broker-programs.md`, "Stating the history".

Cost: one read for each shard whose newest frame the gateway's own journal does not name already,
and one for each shard with executions.
"""

import asyncio
import re
from collections.abc import Awaitable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from actors.errors import BadInputError
from actors.journal.reading import read_after
from actors.ports import EXECUTIONS, Ports
from actors.shard.message_reading import MessageReading
from engine.broker_gateway.shard import GatewayShard, TakenFrame
from engine.columns.section_types import SectionError
from engine.journal.frame import (
    FrameError,
    ShardKey,
    ShardKind,
    decode_header,
    frame_hash,
    frame_mark,
)
from engine.messages.blocks import ExecutionsStated, HistoryStated, Report

READS_AT_ONCE = 32
_NUMBER = re.compile(r"[0-9]{1,18}\Z")


class StatedFrame(NamedTuple):
    """A follower frame as a ledger states it, and its place in the stream."""

    shard: int
    frame: TakenFrame
    sequence: int


class StatedHistory(NamedTuple):
    """The sections with which a broker states its history."""

    history: HistoryStated
    executions: list[ExecutionsStated]

    def frames(self) -> Iterator[StatedFrame]:
        """Yield the newest frame of each follower shard."""
        columns = [column.tolist() for column in self.history.columns]
        for shard, number, mark, sequence in zip(*columns, strict=True):
            yield StatedFrame(shard, TakenFrame(number, mark), sequence)


def stated_in(sections: Iterable[object]) -> StatedHistory | None:
    """Return the history that an answer states, None when it states none. Raises: SectionError when
    its columns are not of one length.
    """
    sections = list(sections)
    for section in sections:
        if isinstance(section, HistoryStated):
            _check_lengths(section)
            executions = [each for each in sections if isinstance(each, ExecutionsStated)]
            return StatedHistory(section, executions)
    return None


def _check_lengths(stated: HistoryStated) -> None:
    lengths = sorted(set(map(len, stated.columns)))
    if len(lengths) > 1:
        raise SectionError(f"HistoryStated: expected columns of one length, found {lengths}")


class Histories:
    """The journals of this cluster, to be compared with the ledger of the broker called `broker`.
    `accepted` names the ledger that an operator accepted.
    """

    def __init__(self, state: GatewayShard, ports: Ports, broker: str, *, accepted: str) -> None:
        self._state = state
        self._ports = ports
        self._broker = broker
        self._accepted = accepted
        self._read: dict[int, tuple[str, int]] = {}

    async def contradiction(self, stated: StatedHistory) -> str:
        """Return how a ledger contradicts the journals, empty when it does not. Raises:
        OperatingError.

        Only a second finding counts. The broker may have published since it answered, and a copy of
        a stream may lag behind its leader.
        """
        state, name = self._state, stated.history.ledger
        if state.ledger and name != state.ledger and name != self._accepted:
            return f"expected its ledger {state.ledger}, found ledger {name}"
        taken = state.taken if name == state.ledger else {}
        if text := _lacking(stated, taken):
            return text
        frames = (each for each in stated.frames() if taken.get(each.shard) != each.frame)
        if text := await _first(_frame_text(self._ports, each) for each in frames):
            return text
        if text := await _stream_text(self._ports, stated.history):
            return text
        return await _first(map(self._executions_text, stated.executions))

    async def _executions_text(self, stated: ExecutionsStated) -> str:
        """Compare a shard's executions with the last ones in the stream."""
        subject = f"executions.{self._broker}.{stated.follower_shard}"
        found = await self._ports.streams.last_message(EXECUTIONS, subject)
        if found is None:
            return _lost_executions(subject, stated, 0) if stated.confirmed_number else ""
        try:
            walk = self._ports.message_format.reports(found.subject, found.data)
            reports = await MessageReading(found, walk).read_whole()
        except BadInputError:
            return ""
        if not reports:
            return ""
        last = _last_number(reports[-1], stated.prefix)
        if last is None:
            # The gateway's own report of revoked orders, or an execution of a former ledger.
            return ""
        prefix, before = self._read.get(stated.follower_shard, (stated.prefix, last))
        self._read[stated.follower_shard] = (stated.prefix, last)
        if prefix == stated.prefix and before > stated.last_number:
            return (
                f"expected its ledger to have execution {stated.prefix}{before}, which is in "
                f"{EXECUTIONS}, found none after {stated.last_number}; the ledger is older than "
                "this cluster or lost its end"
            )
        return _lost_executions(subject, stated, last) if last < stated.confirmed_number else ""


def _last_number(report: Report, prefix: str) -> int | None:
    """Return the number under a prefix of a report's last execution, None where it has none. In
    JSON an execution's id is one text.
    """
    if not len(report.numbers):
        return None
    number = int(report.numbers[-1])
    if report.prefix == prefix:
        return number
    rest = report.prefix.removeprefix(prefix)
    is_numbered = number < 0 and report.prefix.startswith(prefix) and _NUMBER.match(rest)
    return int(rest) if is_numbered else None


def _lacking(stated: StatedHistory, taken: dict[int, TakenFrame]) -> str:
    """Return what the ledger lacks of the frames that it once had, empty when it lacks nothing."""
    found = {each.shard: each.frame for each in stated.frames()}
    for shard, frame in taken.items():
        held = found.get(shard, TakenFrame(0, 0))
        if held.number < frame.number:
            return (
                f"expected its ledger to have the orders of frame {frame.number} of follower "
                f"shard {shard}, which it took, found none after frame {held.number}; the ledger "
                "is older than this cluster or lost its end"
            )
        if held.number == frame.number and held.mark != frame.mark:
            return _other_frame(shard, frame.number)
    return ""


def _other_frame(shard: int, number: int) -> str:
    return (
        f"expected its ledger to have the orders of frame {number} of follower shard {shard} as "
        "the journal has it, found those of another frame; the journal was decided anew"
    )


async def _frame_text(ports: Ports, stated: StatedFrame) -> str:
    """Compare a stated frame with the follower's journal."""
    key = ShardKey(ShardKind.FOLLOWER, stated.shard)
    # Places in a stream begin with 1. The server does not answer for one below.
    found = (
        await read_after(ports.journal, key, stated.sequence - 1, bytes_max=1)
        if stated.sequence > 0
        else []
    )
    if not found or found[0].sequence != stated.sequence:
        return (
            f"expected frame {stated.frame.number} of follower shard {stated.shard}, whose orders "
            f"its ledger has, at sequence {stated.sequence} of the journals, found none; the "
            "journals are older than the ledger or lost their end"
        )
    try:
        header, _ = decode_header(found[0].data)
    except FrameError as error:
        return f"frame {stated.frame.number} of follower shard {stated.shard}: {error}"
    mark = frame_mark(frame_hash(found[0].data))
    if TakenFrame(header.number, mark) != stated.frame:
        return _other_frame(stated.shard, stated.frame.number)
    return ""


async def _stream_text(ports: Ports, stated: HistoryStated) -> str:
    """Compare what JetStream confirmed with where its stream ends."""
    if not stated.confirmed_sequence:
        return ""
    last = await ports.streams.last_sequence(EXECUTIONS)
    if last >= stated.confirmed_sequence:
        return ""
    return (
        f"expected {EXECUTIONS} to reach sequence {stated.confirmed_sequence}, which was confirmed "
        f"to the broker, found its end at {last}; the stream is older than the ledger or lost its "
        "end"
    )


def _lost_executions(subject: str, stated: ExecutionsStated, last: int) -> str:
    return (
        f"expected {subject} to hold executions up to {stated.prefix}{stated.confirmed_number}, "
        f"which were confirmed to the broker, found none after {last}; the stream is older than "
        "the ledger or lost its end"
    )


async def _first(texts: Iterable[Awaitable[str]]) -> str:
    """Await texts in order, a few at once. Returns: the first that is not empty."""
    waiting = iter(texts)
    while some := list(islice(waiting, READS_AT_ONCE)):
        if text := next(filter(None, await asyncio.gather(*some)), ""):
            return text
    return ""
