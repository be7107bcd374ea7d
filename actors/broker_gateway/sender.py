"""The sender of a broker's gateway: sections leave in blocks, and their answers are taken.

Sections leave as the queue lets them go (`engine.broker_gateway.queue`). A block takes as many as
fit, and few blocks are outstanding at a time. A block may stay without an answer after a time-out,
a restart or a takeover (P9). What the sender then does depends on the broker (`OrderIds`):

    refused     send again: the broker refuses the ids it has                     effectively once
    looked_up   journal before sending; look up, then answered or revoked         effectively once
    unchecked   journal before sending; unresolved and a dead letter until reported   at most once

`actors.broker_gateway.answers` says what an answer means for its sections.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from actors.backoff import Backoff
from actors.broker_gateway.answers import Answer, SectionAnswers, SentBlock
from actors.broker_gateway.broker_line import BrokerLine
from actors.broker_gateway.introduction import Introduction
from actors.broker_gateway.outcomes import OrderOutcomes
from actors.broker_gateway.trouble import BrokerTrouble
from actors.broker_gateway.unresolved import UnresolvedSections
from actors.errors import OperatingError, OutcomeUnknownError
from actors.ports import Broker
from actors.rate_limit import RateLimit
from actors.settings import OrderIds
from actors.shard.core import ShardCore
from engine.broker_gateway.outbound import OutboundSection, frames_sent, orders_count
from engine.broker_gateway.queue import DispatchQueue
from engine.broker_gateway.shard import GatewayShard
from engine.columns.section_types import SectionError
from engine.messages.blocks import (
    GatewayEpoch,
    SendingRound,
    encode_block,
)
from engine.values.units import NS_PER_S

_log = structlog.get_logger()

OUTSTANDING_MAX = 8
RESEND_S_MIN = 0.2
RESEND_S_MAX = 5.0


class OrderSender:
    """Sends one owner's sections to the broker called `name`. `now` tells the event time."""

    def __init__(
        self,
        core: ShardCore,
        state: GatewayShard,
        queue: DispatchQueue,
        outcomes: OrderOutcomes,
        *,
        name: str,
        broker: Broker,
        now: Callable[[], int],
    ) -> None:
        self._core = core
        self._state = state
        self._queue = queue
        self._outcomes = outcomes
        self._name = name
        self.line = BrokerLine(broker, core.ports.clock, name)
        self._now = now
        self._order_ids = core.settings.order_ids.get(name, OrderIds.REFUSED)
        self._journals_submissions = self._order_ids is not OrderIds.REFUSED
        orders_per_s = core.settings.orders_per_s_max.get(name, 0)
        self._rate = RateLimit(orders_per_s, burst=orders_per_s)
        self._message_orders_max = core.settings.message_orders_max.get(name)
        self._sent: list[SentBlock] = []
        trouble = BrokerTrouble(core.standing, name)
        self.introduction = Introduction(
            core, state, name, self._ask, trouble, is_journaled=self._journals_submissions
        )
        self._unresolved = UnresolvedSections(
            name, self._ask, core.inputs.arrived, self.introduction
        )
        self.answers = SectionAnswers(
            core, state, queue, outcomes, self.introduction, trouble, self._unresolved, name=name
        )

    @property
    def outstanding_count(self) -> int:
        """The number of unanswered or doubted blocks, sections to send again, and unresolved
        sections.
        """
        return len(self._sent) + self.answers.waiting_count + len(self._unresolved)

    def _block(self, *sections: Any) -> bytes:
        """Encode a block, behind the sections that name the sender."""
        cluster = self._core.settings.cluster_id
        sender: list[Any] = [GatewayEpoch(self._core.writer.epoch, self._now(), cluster)]
        if self._order_ids is OrderIds.LOOKED_UP:
            sender.append(SendingRound(self._unresolved.round))
        return encode_block(*sender, *sections)

    async def _ask(self, *sections: Any) -> list[Any]:
        """Hand sections over. Returns: the answer's. Raises: OperatingError, SectionError."""
        return await self.line.ask(self._block(*sections))

    async def close(self) -> None:
        """Stop waiting."""
        await self.introduction.close()
        await self._unresolved.close()
        for sent in self._sent:
            sent.task.cancel()
        await asyncio.gather(*(sent.task for sent in self._sent), return_exceptions=True)

    # Sending.

    async def send(self) -> None:
        """Send what may go, as many sections in a block as fit, while the broker owes few
        answers.
        """
        if not self._may_send():
            return
        journaled = asyncio.Event()
        blocks: list[list[OutboundSection]] = []
        again_count = 0
        while len(self._sent) + len(blocks) < OUTSTANDING_MAX:
            again = self.answers.again.take()
            again_count += again is not None
            sections = [again] if again is not None else self._next_to_send()
            if not sections:
                break
            blocks.append(sections)
        for number, sections in enumerate(blocks):
            submitting = self._submit(sections, journaled, is_again=number < again_count)
            task = asyncio.create_task(submitting, name=f"block for {self._name}")
            task.add_done_callback(lambda _: self._core.inputs.arrived.set())
            self._sent.append(SentBlock(sections, self._unresolved.round, task))
        if blocks and self._journals_submissions:
            await self._journal_submissions(blocks, journaled)
        else:
            journaled.set()

    def _may_send(self) -> bool:
        """Return whether the broker has heard of this owner, and nothing is unresolved."""
        return self.introduction.is_done and not self._unresolved

    def _next_to_send(self) -> list[OutboundSection]:
        allowed = self._rate.allowed(self._core.ports.clock.now_ns())
        limits = [each for each in (allowed, self._message_orders_max) if each is not None]
        sections = self._queue.next_to_send(min(limits, default=None))
        if allowed is not None:
            self._rate.take(orders_count(sections))
        return sections

    async def _journal_submissions(
        self, blocks: list[list[OutboundSection]], journaled: asyncio.Event
    ) -> None:
        """Journal in one frame what is about to leave. It leaves once the frame is durable."""
        began = self._state.submissions.begin([section for block in blocks for section in block])
        if began is None:
            journaled.set()
            return
        self._state.apply_event(began)

        async def leave() -> None:
            journaled.set()

        await self._core.commit([began, *self._outcomes.take_settled()], self._now(), [leave])

    async def _submit(
        self, sections: list[OutboundSection], journaled: asyncio.Event, *, is_again: bool
    ) -> Answer | None:
        """Hand sections over in one block. Returns: the answer; None when there was none and they
        must not go again.
        """
        await journaled.wait()
        backoff = Backoff(RESEND_S_MIN, RESEND_S_MAX)
        frames = frames_sent(sections)
        bodies = [body for each in sections for body in each.bodies]
        while True:
            if is_again:
                now_ns = self._core.ports.clock.now_ns()
                wait_ns = self._rate.take_in_turn(orders_count(sections), now_ns)
                await asyncio.sleep(wait_ns / NS_PER_S)
            try:
                answered = (await self._ask(*bodies, *([frames] if frames else [])))[0]
                return Answer(answered, not is_again)
            except (OperatingError, SectionError) as error:
                is_unknown = isinstance(error, OutcomeUnknownError | SectionError)
                orders = orders_count(sections)
                _log.warning("not_answered", broker=self._name, orders=orders, error=str(error))
                self.introduction.renew()
                if is_unknown and self._journals_submissions:
                    return None
                self._core.counts.messages_sent_again += 1
            is_again = True
            await asyncio.sleep(backoff.next_s())
            await self.introduction.wait()

    # Taking answers.

    def take_answers(self) -> None:
        """Take the answers that have come, and what was found out about unresolved sections.
        Raises: ShardLostError.
        """
        self.introduction.check()
        done = [sent for sent in self._sent if sent.task.done()]
        if done:
            self._sent = [sent for sent in self._sent if not sent.task.done()]
        for sent in done:
            self.answers.take(sent)
        self.answers.take_found()
        self.answers.take_doubted()
