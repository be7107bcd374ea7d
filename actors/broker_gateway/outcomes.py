"""What became of the orders in a gateway's hands, from when that is known until its journal says
so.

    answered    the broker has them, or has refused them     the cursor in the next frame passes them
    revoked   they never left, or never arrived            `OrdersRevoked`, then reported as executions
    unresolved      nobody here can know (P9)                    `OrdersUnresolved`, then named in dead letters

Reports leave once their event is durable (P3), and again under the same message ids after a restart
(`actors.broker_gateway.reports`).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import structlog

from actors.broker_gateway.reports import reports
from actors.shard.committer import Output
from actors.shard.core import ShardCore
from actors.shard.frame_budget import FrameBudget
from actors.shard.retry import retry_until_done
from engine.broker_gateway.outbound import OutboundSection
from engine.broker_gateway.queue import DispatchQueue
from engine.broker_gateway.shard import GatewayShard
from engine.journal.cursors import Cursor, Source
from engine.journal.events.gateway import (
    BlocksAnswered,
    OrdersRevoked,
    OrdersUnresolved,
    SubmissionSettled,
)
from engine.messages.blocks import OrdersSubmitted
from engine.values.order_status import ExecType

_log = structlog.get_logger()

COMMIT_NS_EVERY = 200_000_000
SENDINGS_COMMIT_NS_EVERY = 20_000_000
"""Answers that are not journaled when an owner dies are asked after, or unresolved, by its
successor.
"""


class OrderOutcomes:
    """The outcomes at the broker called `name` that are not journaled yet. `now` tells the event
    time.
    """

    def __init__(
        self,
        core: ShardCore,
        state: GatewayShard,
        queue: DispatchQueue,
        name: str,
        now: Callable[[], int],
    ) -> None:
        self._core = core
        self._state = state
        self._queue = queue
        self._name = name
        self._now = now
        self._answered_orders = 0
        self._total_answered = 0
        self._ended_sendings: list[int] = []
        self._events: list[OrdersRevoked | OrdersUnresolved] = []
        self._committed_ns = 0

    @property
    def answered_orders(self) -> int:
        """How many orders this owner has got out of its hands."""
        return self._total_answered + self._answered_orders

    # Taking.

    def end(self, block: OutboundSection) -> None:
        """Take a block out of the gateway's hands: it is known what became of it."""
        self._queue.let_go(block)
        if isinstance(block.section, OrdersSubmitted):
            self._answered_orders += block.count
        if block.sending >= 0:
            self._ended_sendings.append(block.sending)

    def revoke(self, block: OutboundSection, exec_type: ExecType) -> None:
        """Have a block's orders reported as over, in the broker's stead: it does not have them."""
        if not block.count:
            return
        assert block.key is not None
        self._core.count("orders_withdrawn", block.count)
        event = OrdersRevoked(
            block.follower_shard,
            *block.key,
            exec_type,
            self._state.revoked.get(block.follower_shard, 0),
            self._now(),
            block.sequence,
            block.orders.subscriptions,
        )
        self._state.apply_event(event)
        self._events.append(event)

    def park(self, block: OutboundSection) -> None:
        """Leave a block's orders to whoever can find out: they are open until executions say
        otherwise.
        """
        assert block.key is not None
        _log.error("unknown_placement", broker=self._name, orders=block.count, alarm=True)
        subscriptions = block.orders.subscriptions
        event = OrdersUnresolved(block.follower_shard, *block.key, block.sequence, subscriptions)
        self._state.apply_event(event)
        self._events.append(event)
        self.end(block)

    def take_ended(self) -> list[SubmissionSettled]:
        """Take which sendings are over, to be journaled with new ones. What an outcome ended is
        left to be said with that outcome, or a successor might find neither.
        """
        return self._take_ended() if not self._events else []

    def _take_ended(self) -> list[SubmissionSettled]:
        if not self._ended_sendings:
            return []
        event = SubmissionSettled(np.array(sorted(self._ended_sendings), np.int64))
        self._ended_sendings = []
        self._state.apply_event(event)
        return [event]

    # Remembering.

    async def remember(self, *, at_once: bool = False) -> None:
        """Journal how far everything is answered: at once when orders were revoked or unresolved,
        or it is asked for, else now and then.
        """
        now_ns = self._core.ports.clock.now_ns()
        every = SENDINGS_COMMIT_NS_EVERY if self._ended_sendings else COMMIT_NS_EVERY
        is_due = self._answered_orders > 0 and now_ns - self._committed_ns >= every
        is_wanted = at_once or bool(self._events)
        if not is_wanted and not is_due:
            return
        answered = self.answered_up_to()
        if not is_wanted and not self._ended_sendings and answered <= self._state.answered_sequence:
            return
        self._committed_ns = now_ns
        last = await self._journal_all_but_last()
        self._state.cursors[Source.ORDERS, 0] = Cursor(Source.ORDERS, 0, answered, answered)
        events: list[Any] = [*last, *self._take_ended(), BlocksAnswered(self._answered_orders)]
        self._state.forget_passed()
        self._state.pass_marks(answered)
        self._total_answered += self._answered_orders
        self._answered_orders = 0
        await self._core.commit(events, self._now(), [self.report(event) for event in last])

    async def _journal_all_but_last(self) -> list[OrdersRevoked | OrdersUnresolved]:
        """Journal revoked and unresolved orders beyond a frame's worth in frames of their own,
        under the cursor as it was: until the last is durable nothing is passed. Returns: those left
        for the last frame.
        """
        outcomes, self._events = self._events, []
        events: list[Any] = []
        size = FrameBudget(events, self._core.settings.frame_bytes_max)
        for event in outcomes:
            if size.is_full:
                await self._core.commit(events, self._now(), [self.report(each) for each in events])
                events = []
                size = FrameBudget(events, self._core.settings.frame_bytes_max)
            events.append(event)
        return events

    def answered_up_to(self) -> int:
        """Name the last sequence before the first block that is not answered."""
        first = self._queue.first_sequence()
        return self._state.read_sequence if first is None else first - 1

    def report(self, event: OrdersRevoked | OrdersUnresolved) -> Output:
        """Make what is published of revoked or unresolved orders once their frame is durable."""
        made = list(reports(self._name, self._core.key.shard, event))

        async def publish() -> None:
            streams = self._core.ports.streams
            for subject, data, message_id in made:
                await retry_until_done(
                    "orders withdrawn or parked",
                    lambda: streams.publish(subject, data, message_id=message_id),  # noqa: B023
                )

        return publish
