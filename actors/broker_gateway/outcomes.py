"""The outcomes of the orders in a gateway's hands, until its journal says so.

    answered     the broker has them, or refused them     the next frame's cursor passes them
    revoked      they never left, or never arrived        `OrdersRevoked`, reported as executions
    unresolved   nobody here can know (P9)                `OrdersUnresolved`, named in dead letters

Reports leave once their event is durable (P3), and again after a restart
(`actors.broker_gateway.reports`).
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import structlog

from actors.broker_gateway.reports import reports
from actors.retry import retry_until_done
from actors.shard.committer import Output
from actors.shard.core import ShardCore
from actors.shard.frame_budget import FrameBudget
from engine.broker_gateway.outbound import OutboundSection
from engine.broker_gateway.queue import DispatchQueue
from engine.broker_gateway.shard import GatewayShard, TakenFrame, frames_taken
from engine.journal.cursors import Cursor, Source
from engine.journal.events.gateway import (
    BlocksAnswered,
    FramesTaken,
    OrdersRevoked,
    OrdersUnresolved,
    SubmissionSettled,
)
from engine.messages.blocks import OrdersSubmitted
from engine.values.order_status import ExecType

_log = structlog.get_logger()

COMMIT_NS_EVERY = 200_000_000
SUBMISSIONS_COMMIT_NS_EVERY = 20_000_000
"""An answer that is not journaled when an owner dies makes its successor look the orders up, or
leave them unresolved. So answers to journaled submissions are journaled soon.
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
        self._settled_submissions: list[int] = []
        self._ledger = ""
        self._taken_frames: dict[int, TakenFrame] = {}
        self._events: list[OrdersRevoked | OrdersUnresolved] = []
        self._committed_ns = 0

    @property
    def answered_orders(self) -> int:
        """The number of orders that this owner is done with."""
        return self._total_answered + self._answered_orders

    # Taking.

    def end(self, section: OutboundSection) -> None:
        """Take a section out of the gateway's hands: its outcome is known."""
        self._queue.let_go(section)
        if isinstance(section.body, OrdersSubmitted):
            self._answered_orders += section.count
        if section.submission >= 0:
            self._settled_submissions.append(section.submission)

    def take_frames(self, ledger: str, sections: Iterable[OutboundSection]) -> None:
        """Note that a ledger has the orders of some sections."""
        if ledger != self._ledger:
            self._ledger = ledger
            self._taken_frames.clear()
        for section in sections:
            if not isinstance(section.body, OrdersSubmitted):
                continue
            shard, frame = section.follower_shard, section.body.frame
            known = self._taken_frames.get(shard)
            if known is None and ledger == self._state.ledger:
                known = self._state.taken.get(shard)
            if known is None or frame > known.number:
                self._taken_frames[shard] = TakenFrame(frame, section.frame_mark)

    def revoke(self, section: OutboundSection, exec_type: ExecType) -> None:
        """Report a section's orders as over, on behalf of the broker, which does not have them."""
        if not section.count:
            return
        assert section.key is not None
        self._core.counts.orders_revoked += section.count
        event = OrdersRevoked(
            section.follower_shard,
            section.key,
            exec_type,
            self._state.revoked.get(section.follower_shard, 0),
            self._now(),
            section.sequence,
            section.orders.subscriptions,
        )
        self._state.apply_event(event)
        self._events.append(event)

    def leave_unresolved(self, section: OutboundSection) -> None:
        """Leave a section's orders to an operator. They are open until executions say otherwise."""
        assert section.key is not None
        _log.error("unknown_placement", broker=self._name, orders=section.count, alarm=True)
        subscriptions = section.orders.subscriptions
        event = OrdersUnresolved(
            section.follower_shard, section.key, section.sequence, subscriptions
        )
        self._state.apply_event(event)
        self._events.append(event)
        self.end(section)

    def take_settled(self) -> list[SubmissionSettled]:
        """Take the submissions that are settled, to be journaled with new ones.

        A submission that an outcome settled is journaled with that outcome. Otherwise a successor
        might find neither.
        """
        return self._take_settled() if not self._events else []

    def _take_settled(self) -> list[SubmissionSettled]:
        if not self._settled_submissions:
            return []
        event = SubmissionSettled(np.array(sorted(self._settled_submissions), np.int64))
        self._settled_submissions = []
        self._state.apply_event(event)
        return [event]

    def _take_taken_frames(self) -> list[FramesTaken]:
        if not self._taken_frames:
            return []
        event = frames_taken(self._ledger, self._taken_frames)
        self._taken_frames.clear()
        self._state.apply_event(event)
        return [event]

    # Journaling.

    async def journal(self, *, at_once: bool = False) -> None:
        """Journal how far everything is answered: at once if orders were revoked or unresolved, or
        if it is asked for, else now and then.
        """
        now_ns = self._core.ports.clock.now_ns()
        every = SUBMISSIONS_COMMIT_NS_EVERY if self._settled_submissions else COMMIT_NS_EVERY
        is_due = self._answered_orders > 0 and now_ns - self._committed_ns >= every
        is_wanted = at_once or bool(self._events)
        if not is_wanted and not is_due:
            return
        answered = self.answered_up_to()
        is_new = bool(self._settled_submissions) or answered > self._state.answered_sequence
        if not is_wanted and not is_new:
            return
        self._committed_ns = now_ns
        last = await self._journal_all_but_last()
        self._state.cursors[Source.ORDERS, 0] = Cursor(Source.ORDERS, 0, answered, answered)
        events: list[Any] = [
            *last,
            *self._take_settled(),
            *self._take_taken_frames(),
            BlocksAnswered(self._answered_orders),
        ]
        self._state.forget_passed()
        self._state.pass_marks(answered)
        self._total_answered += self._answered_orders
        self._answered_orders = 0
        await self._core.commit(events, self._now(), [self.report(event) for event in last])

    async def _journal_all_but_last(self) -> list[OrdersRevoked | OrdersUnresolved]:
        """Journal revoked and unresolved orders beyond a frame's worth in frames of their own.
        Returns: those left for the last frame.

        The cursor stays as it was meanwhile: nothing is passed until the last frame is durable.
        """
        outcomes, self._events = self._events, []
        events: list[Any] = []
        budget = FrameBudget(events, self._core.settings.frame_bytes_max)
        for event in outcomes:
            if budget.is_full:
                await self._core.commit(events, self._now(), [self.report(each) for each in events])
                events = []
                budget = FrameBudget(events, self._core.settings.frame_bytes_max)
            events.append(event)
        return events

    def answered_up_to(self) -> int:
        """The last sequence before the first section that is not answered."""
        first = self._queue.first_sequence()
        return self._state.read_sequence if first is None else first - 1

    # Reporting.

    def report(self, event: OrdersRevoked | OrdersUnresolved) -> Output:
        """Make the messages about revoked or unresolved orders, to be published once their frame is
        durable.
        """
        made = list(reports(self._name, self._core.key.shard, event))

        async def publish() -> None:
            streams = self._core.ports.streams
            for subject, data, message_id in made:
                await retry_until_done(
                    "report of revoked or unresolved orders",
                    lambda: streams.publish(subject, data, message_id=message_id),  # noqa: B023
                )

        return publish
