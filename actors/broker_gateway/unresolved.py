"""Sections that left and were not answered, at a broker that takes an order id again (P9).

The gateway looks their orders up and never sends them again. Each look-up begins a new round, and
from then on the broker refuses blocks of earlier rounds. An order that it does not know therefore
never arrives: that order is over, like one revoked unsent. Nothing new leaves until everything is
resolved, or a silent broker would make unresolved orders without end.
"""

import asyncio
from typing import Any, NamedTuple, Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from actors.backoff import Backoff
from actors.broker_gateway.introduction import Ask
from actors.broker_gateway.refusals import is_of_sender
from actors.errors import OperatingError
from engine.broker_gateway.outbound import OutboundSection
from engine.broker_gateway.queue import MESSAGE_ORDERS_MAX
from engine.columns.section_types import SectionError
from engine.messages.blocks import BlockAnswered, OrdersKnown, OrdersLookedUp

_log = structlog.get_logger()

SECTIONS_MAX = 256
PAUSE_S_MIN = 0.2
PAUSE_S_MAX = 5.0


class Found(NamedTuple):
    """The broker's word on one section: which of its orders it has."""

    section: OutboundSection
    known: NDArray[np.bool_]


class Introduced(Protocol):
    """The part of an introduction that look-ups need."""

    def again(self, refusal: str) -> None: ...

    async def wait(self) -> None: ...


class UnresolvedSections:
    """The unresolved sections of one broker, looked up a block at a time. Everything is sent under
    `round`.
    """

    def __init__(
        self, broker: str, ask: Ask, arrived: asyncio.Event, introduction: Introduced
    ) -> None:
        self.round = 0
        self._introduction = introduction
        self._broker = broker
        self._ask = ask
        self._arrived = arrived
        self._waiting: list[OutboundSection] = []
        self._settling: asyncio.Task[list[Found]] | None = None

    def __len__(self) -> int:
        return len(self._waiting) + (self._settling is not None)

    def add(self, section: OutboundSection) -> None:
        """Add a section to look up."""
        self._waiting.append(section)

    def probe(self) -> None:
        """Hold everything back until the broker answers again. For a broker that cannot look up
        orders.
        """
        if self._settling is None:
            self._start([])

    def take_found(self) -> list[Found]:
        """Take what was found out, and look up what waits."""
        found: list[Found] = []
        if self._settling is not None and self._settling.done():
            settled, self._settling = self._settling, None
            found = settled.result()
        if self._waiting and self._settling is None:
            self.round += 1
            self._start(self._take_waiting())
        return found

    def _take_waiting(self) -> list[OutboundSection]:
        """Take the sections that one block looks up: no more orders than one block sends, or a
        section by itself.
        """
        count = orders = 0
        for section in self._waiting[:SECTIONS_MAX]:
            orders += section.count
            if count and orders > MESSAGE_ORDERS_MAX:
                break
            count += 1
        asked, self._waiting = self._waiting[:count], self._waiting[count:]
        return asked

    def _start(self, sections: list[OutboundSection]) -> None:
        self._settling = asyncio.create_task(
            self._settle(sections), name=f"look-up at {self._broker}"
        )
        self._settling.add_done_callback(lambda _: self._arrived.set())

    async def close(self) -> None:
        """Stop looking up."""
        if self._settling is not None:
            self._settling.cancel()
            await asyncio.gather(self._settling, return_exceptions=True)

    async def _settle(self, sections: list[OutboundSection]) -> list[Found]:
        backoff = Backoff(PAUSE_S_MIN, PAUSE_S_MAX)
        while True:
            # A ledger that is not the right one would not know the orders either.
            await self._introduction.wait()
            try:
                answer, *known = await self._ask(*map(_look_up, sections))
                if not sections:
                    # Nothing was asked. What stands behind the answer states the history.
                    known = []
                if is_of_sender(answer):
                    self._introduction.again(answer.refusal)
                if not answer.refusal and len(known) == len(sections):
                    return [
                        Found(section, _known(section, each))
                        for section, each in zip(sections, known, strict=True)
                    ]
                expected = f"{len(sections)} OrdersKnown"
                found = answer.refusal or f"{len(known)} sections"
                _log.error(
                    "look_up_refused",
                    broker=self._broker,
                    expected=expected,
                    found=found,
                    alarm=True,
                )
            except (OperatingError, SectionError) as error:
                _log.warning(
                    "asking_again", broker=self._broker, sections=len(sections), error=str(error)
                )
            await asyncio.sleep(backoff.next_s())


def _look_up(section: OutboundSection) -> OrdersLookedUp:
    assert section.key is not None
    return OrdersLookedUp(section.follower_shard, section.key, section.orders.subscriptions)


def _known(section: OutboundSection, answer: Any) -> NDArray[np.bool_]:
    """Return which orders of a section an answer names. Raises: SectionError when it is the answer
    for another section.
    """
    asked = _look_up(section)
    is_same = isinstance(answer, OrdersKnown) and (
        (answer.follower_shard, answer.key) == (asked.follower_shard, asked.key)
    )
    if not is_same:
        raise SectionError(f"look-up: expected OrdersKnown of {section.key}, found {answer!r:.200}")
    return np.isin(asked.subscriptions, answer.subscriptions)


def check_answer(sections: list[Any]) -> list[Any]:
    """Check that an answer begins with BlockAnswered. Returns: its sections. Raises:
    SectionError.
    """
    if not sections or not isinstance(sections[0], BlockAnswered):
        found = type(sections[0]).__name__ if sections else "nothing"
        raise SectionError(f"answer: expected BlockAnswered first, found {found}")
    return sections
