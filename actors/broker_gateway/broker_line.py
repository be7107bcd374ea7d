"""The line to one broker: blocks go over it, and it knows since when the broker owes an answer."""

import asyncio
from typing import Any

import structlog

from actors.broker_gateway.unresolved import check_answer
from actors.ports import Broker, Clock
from actors.shard.message_reading import PARTS_EACH
from engine.columns.section_types import SectionError
from engine.columns.sections import UnknownSection
from engine.messages.blocks import (
    BlockAnswered,
    ExecutionsStated,
    HistoryStated,
    OrdersKnown,
    is_block,
    sections_in,
    walk_block,
)

_log = structlog.get_logger()

ANSWER_SECTIONS_MAX = 1 << 15
"""Most sections in one answer: two for each follower shard that there can be."""
ANSWER_ROWS_MAX = 1 << 18
"""Most rows in one answer. A few bytes can say millions, and all shards of the process wait."""


class BrokerLine:
    """The broker called `name` as its gateway reaches it."""

    def __init__(self, broker: Broker, clock: Clock, name: str) -> None:
        self._broker = broker
        self._clock = clock
        self._name = name
        self._is_odd = False
        self._asking_count = 0
        self._owed_ns = 0

    @property
    def silent_ns(self) -> int:
        """For how long the broker has owed an answer and sent none, 0 while it owes none."""
        return self._clock.now_ns() - self._owed_ns if self._owed_ns else 0

    async def ask(self, block: bytes) -> list[Any]:
        """Hand a block over. Returns: the answer's sections. Raises: OperatingError,
        SectionError.
        """
        self._owed_ns = self._owed_ns or self._clock.now_ns()
        self._asking_count += 1
        try:
            answer = check_answer(await _decoded(await self._broker.submit(block)))
        except SectionError as error:
            self._tell(error)
            raise
        finally:
            self._asking_count -= 1
        self._is_odd = False
        self._owed_ns = self._clock.now_ns() if self._asking_count else 0
        return answer

    def _tell(self, error: SectionError) -> None:
        """Tell an operator of an answer that cannot be read, once until one can be."""
        if not self._is_odd:
            _log.error("answer_unreadable", broker=self._name, error=str(error), alarm=True)
        self._is_odd = True


async def _decoded(data: bytes) -> list[Any]:
    """Decode an answer, some sections at a time. Raises: SectionError."""
    if is_block(data) and (count := sections_in(data)) > ANSWER_SECTIONS_MAX:
        raise SectionError(
            f"answer: expected at most {ANSWER_SECTIONS_MAX} sections, found {count}"
        )
    sections: list[Any] = []
    rows = 0
    for section in walk_block(data, rows_max=ANSWER_ROWS_MAX):
        rows += _rows_of(section)
        if rows > ANSWER_ROWS_MAX:
            raise SectionError(f"answer: expected at most {ANSWER_ROWS_MAX} rows, found more")
        sections.append(section)
        if len(sections) % PARTS_EACH == 0:
            await asyncio.sleep(0)
    return sections


def _rows_of(section: Any) -> int:
    """Count the rows of a section. Raises: SectionError when it does not belong in an answer."""
    match section:
        case OrdersKnown():
            return len(section.subscriptions)
        case HistoryStated():
            return max(map(len, section.columns))
        case BlockAnswered() | ExecutionsStated() | UnknownSection():
            return 0
    raise SectionError(
        f"answer: expected nothing but what answers a block, found {type(section).__name__}"
    )
