"""Blocks that left and were not answered, at a broker that takes an order id again: asked after,
never sent again (P9).

Asking begins a new round, below which the broker refuses blocks from then on. So what it does not
know has not arrived and never will: that order is over, like one revoked unsent. Until everything
is found out nothing new leaves, or a silent broker would make doubts without end.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import numpy as np
import structlog
from numpy.typing import NDArray

from actors.errors import OperatingError, ShardLostError
from engine.broker_gateway.outbound import OutboundSection
from engine.broker_gateway.queue import MESSAGE_ORDERS_MAX
from engine.columns.sections import SectionError
from engine.messages.blocks import BlockAnswered, OrdersKnown, OrdersLookedUp

_log = structlog.get_logger()

BLOCKS_MAX = 256
PAUSE_S_MIN = 0.2
PAUSE_S_MAX = 5.0

Ask = Callable[..., Awaitable[list[Any]]]
"""Hands sections over, behind the sections that say who speaks. Returns: those of the answer."""


class Found(NamedTuple):
    """What the broker said of one block: which of its orders it has."""

    block: OutboundSection
    known: NDArray[np.bool_]


class UnresolvedBlocks:
    """The doubtful blocks of one broker, settled a message at a time; `round` is the one that
    everything is sent under.
    """

    def __init__(self, broker: str, ask: Ask, arrived: asyncio.Event) -> None:
        self.round = 0
        self._broker = broker
        self._ask = ask
        self._arrived = arrived
        self._waiting: list[OutboundSection] = []
        self._settling: asyncio.Task[list[Found]] | None = None

    def __len__(self) -> int:
        return len(self._waiting) + (self._settling is not None)

    def add(self, block: OutboundSection) -> None:
        """Have a block asked after."""
        self._waiting.append(block)

    def probe(self) -> None:
        """Hold everything back until the broker answers again; for one that cannot be asked after
        orders.
        """
        if self._settling is None:
            self._start([])

    def take_found(self) -> list[Found]:
        """Take what was found out, and ask after what waits. Raises: ShardLostError."""
        found: list[Found] = []
        if self._settling is not None and self._settling.done():
            settled, self._settling = self._settling, None
            found = settled.result()
        if self._waiting and self._settling is None:
            self.round += 1
            self._start(self._take_waiting())
        return found

    def _take_waiting(self) -> list[OutboundSection]:
        """Take the blocks that one message asks after: no more orders than one sends, or a block by
        itself.
        """
        count = orders = 0
        for block in self._waiting[:BLOCKS_MAX]:
            orders += block.count
            if count and orders > MESSAGE_ORDERS_MAX:
                break
            count += 1
        asked, self._waiting = self._waiting[:count], self._waiting[count:]
        return asked

    def _start(self, blocks: list[OutboundSection]) -> None:
        self._settling = asyncio.create_task(self._settle(blocks), name=f"doubts at {self._broker}")
        self._settling.add_done_callback(lambda _: self._arrived.set())

    async def close(self) -> None:
        """Stop asking."""
        if self._settling is not None:
            self._settling.cancel()
            await asyncio.gather(self._settling, return_exceptions=True)

    async def _settle(self, blocks: list[OutboundSection]) -> list[Found]:
        pause_s = PAUSE_S_MIN
        while True:
            try:
                answer, *known = await self._ask(*map(_look_up, blocks))
                if answer.refusal.startswith("epoch"):
                    raise ShardLostError(
                        f"gateway of {self._broker}: a higher epoch was heard: {answer.refusal}"
                    )
                if not answer.refusal and len(known) == len(blocks):
                    return [
                        Found(block, _known(block, each))
                        for block, each in zip(blocks, known, strict=True)
                    ]
                expected = f"{len(blocks)} OrdersKnown"
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
                    "asking_again", broker=self._broker, blocks=len(blocks), error=str(error)
                )
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, PAUSE_S_MAX)


def _look_up(block: OutboundSection) -> OrdersLookedUp:
    assert block.key is not None
    return OrdersLookedUp(block.follower_shard, *block.key, block.orders.subscriptions)


def _known(block: OutboundSection, answer: Any) -> NDArray[np.bool_]:
    """Say which orders of a block an answer names. Raises: SectionError when it is not the answer
    for this block.
    """
    asked = _look_up(block)
    names = ("follower_shard", "cause_kind", "creator_shard", "cause_number", "leg", "attempt")
    is_same = isinstance(answer, OrdersKnown)
    if not is_same or any(getattr(answer, name) != getattr(asked, name) for name in names):
        raise SectionError(f"look-up: expected OrdersKnown of {block.key}, found {answer!r:.200}")
    return np.isin(asked.subscriptions, answer.subscriptions)


def check_answer(sections: list[Any]) -> list[Any]:
    """Check that an answer begins as every answer does. Returns: its sections. Raises:
    SectionError.
    """
    if not sections or not isinstance(sections[0], BlockAnswered):
        found = type(sections[0]).__name__ if sections else "nothing"
        raise SectionError(f"answer: expected BlockAnswered first, found {found}")
    return sections
