"""What is on its way to a broker, and what it answers; what it does not answer is sent again, or in
doubt.

Blocks leave as the queue lets them go (`engine.broker_gateway.queue`), as many in a message as fit,
while the broker owes few answers. What was not answered, after a time-out, a restart, a takeover
(P9), depends on the broker (`OrderIds`):

    refused     sent again: the broker refuses the ids it has                            effectively once
    looked_up   journaled before it leaves; asked after, then answered or revoked      effectively once
    unchecked   journaled before it leaves; unresolved, a dead letter, open until reported   at most once
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import structlog

from actors.broker_gateway.outcomes import OrderOutcomes
from actors.broker_gateway.unresolved import UnresolvedBlocks, check_answer
from actors.errors import OperatingError, OutcomeUnknownError, ShardLostError
from actors.ports import Broker
from actors.settings import OrderIds
from actors.shard.core import ShardCore
from actors.shard.rate_limit import NS_PER_S, OrderRate
from actors.shard.retry import retry_until_done
from engine.broker_gateway.outbound import OutboundSection, orders_count
from engine.broker_gateway.queue import DispatchQueue
from engine.broker_gateway.shard import GatewayShard
from engine.columns.sections import Column, SectionError
from engine.messages.blocks import (
    BlockAnswered,
    GatewayEpoch,
    OrdersSubmitted,
    SendingRound,
    decode_block,
    encode_block,
)
from engine.values.order_status import ExecType

_log = structlog.get_logger()

OUTSTANDING_MAX = 8
RESEND_S_MIN = 0.2
RESEND_S_MAX = 5.0


class Sent(NamedTuple):
    """A message on its way, and the task that waits for its answer: None when there is none and it
    must not go again.
    """

    blocks: list[OutboundSection]
    task: "asyncio.Task[BlockAnswered | None]"


class OrderSender:
    """Sends one owner's blocks to the broker called `name`. `now` tells the event time."""

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
        self._broker = broker
        self._now = now
        self._order_ids = core.settings.order_ids.get(name, OrderIds.REFUSED)
        self._journals_sendings = self._order_ids is not OrderIds.REFUSED
        self._rate = OrderRate(core.settings.orders_per_s_max.get(name, 0))
        self._alone: deque[OutboundSection] = deque()
        self._sent: list[Sent] = []
        self._doubts = UnresolvedBlocks(name, self._ask, core.arrived)
        self._introduction: asyncio.Task[None] | None = None
        self.unsent_after: int | None = 0 if self._journals_sendings else None
        """Orders stored after it have not left while they are queued; None while nobody knows where
        the former owner's end.
        """

    @property
    def outstanding_count(self) -> int:
        """How many messages and blocks have left, or are to go again, and are not answered."""
        return len(self._sent) + len(self._alone) + len(self._doubts)

    # Introducing.

    def introduce(self, stream: str) -> None:
        """Begin to tell the broker of this owner of orders from a stream."""
        self._introduction = asyncio.create_task(
            self._introduce(stream), name=f"introduction to {self._name}"
        )
        self._introduction.add_done_callback(lambda _: self._core.arrived.set())

    async def wait_introduced(self) -> None:
        """Wait until the broker has heard of this owner."""
        assert self._introduction is not None
        await self._introduction

    async def _introduce(self, stream: str) -> None:
        """Tell the broker of this epoch, from when on it refuses the former owner's blocks.

        Orders stored before that may have been sent by the former owner: what became of them is the
        broker's to say. Only later ones are known to be unsent while they are queued.
        """
        pause_s = RESEND_S_MIN
        while not await self._is_heard():
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, RESEND_S_MAX)
        if self._journals_sendings:
            return
        streams = self._core.ports.streams
        self.unsent_after = await retry_until_done(
            f"end of {stream}", lambda: streams.last_sequence(stream)
        )

    async def _is_heard(self) -> bool:
        """Tell the broker of this epoch once. Returns: whether it knows of it, or of a higher one;
        a broker that refuses the block for any other reason has taken nothing of it.
        """
        try:
            refusal = (await self._ask())[0].refusal
        except (OperatingError, SectionError) as error:
            refusal = str(error)
        is_heard: bool = not refusal or refusal.startswith("epoch")
        if not is_heard:
            _log.warning("not_introduced", broker=self._name, error=refusal)
        return is_heard

    def _block(self, *sections: Any) -> bytes:
        """Encode a block, behind what says who speaks as of now."""
        head: list[Any] = [GatewayEpoch(self._core.writer.epoch, self._now())]
        if self._order_ids is OrderIds.LOOKED_UP:
            head.append(SendingRound(self._doubts.round))
        return encode_block(*head, *sections)

    async def _ask(self, *sections: Any) -> list[Any]:
        """Hand sections over. Returns: the answer's. Raises: OperatingError, SectionError."""
        return check_answer(decode_block(await self._broker.submit(self._block(*sections))))

    async def close(self) -> None:
        """Stop waiting."""
        if self._introduction is not None:
            self._introduction.cancel()
            await asyncio.gather(self._introduction, return_exceptions=True)
        await self._doubts.close()
        for sent in self._sent:
            sent.task.cancel()
        await asyncio.gather(*(sent.task for sent in self._sent), return_exceptions=True)

    # Submission.

    async def send(self) -> None:
        """Send what may go, as many blocks in a message as fit, while the broker owes few
        answers.
        """
        if not self._may_send():
            return
        journaled = asyncio.Event()
        messages: list[list[OutboundSection]] = []
        again_count = min(len(self._alone), OUTSTANDING_MAX - len(self._sent))
        while len(self._sent) + len(messages) < OUTSTANDING_MAX:
            blocks = [self._alone.popleft()] if self._alone else self._next_to_send()
            if not blocks:
                break
            messages.append(blocks)
        for number, blocks in enumerate(messages):
            submitting = self._submit(blocks, journaled, is_again=number < again_count)
            task = asyncio.create_task(submitting, name=f"blocks for {self._name}")
            task.add_done_callback(lambda _: self._core.arrived.set())
            self._sent.append(Sent(blocks, task))
        if messages and self._journals_sendings:
            await self._journal_sendings(messages, journaled)
        else:
            journaled.set()

    def _may_send(self) -> bool:
        """Say whether the broker has heard of this owner, and nothing is in doubt."""
        return self._introduction is not None and self._introduction.done() and not self._doubts

    def _next_to_send(self) -> list[OutboundSection]:
        allowed = self._rate.allowed(self._core.ports.clock.now_ns())
        blocks = self._queue.next_to_send(allowed)
        if allowed is not None:
            self._rate.take(orders_count(blocks))
        return blocks

    async def _journal_sendings(
        self, messages: list[list[OutboundSection]], journaled: asyncio.Event
    ) -> None:
        """Journal what is about to leave, all of it in one frame; it leaves once that is
        durable.
        """
        began = self._state.sendings.begin([block for blocks in messages for block in blocks])
        if began is None:
            journaled.set()
            return
        self._state.apply_event(began)

        async def leave() -> None:
            journaled.set()

        await self._core.commit([began, *self._outcomes.take_ended()], self._now(), [leave])

    async def _submit(
        self, blocks: list[OutboundSection], journaled: asyncio.Event, *, is_again: bool
    ) -> BlockAnswered | None:
        """Hand blocks over in one message. Returns: the answer; None when there was none and they
        must not go again.
        """
        await journaled.wait()
        pause_s = RESEND_S_MIN
        while True:
            if is_again:
                wait_ns = self._rate.owe(orders_count(blocks), self._core.ports.clock.now_ns())
                await asyncio.sleep(wait_ns / NS_PER_S)
            try:
                answer: BlockAnswered = (await self._ask(*[block.section for block in blocks]))[0]
                return answer
            except (OperatingError, SectionError) as error:
                is_unknown = isinstance(error, OutcomeUnknownError | SectionError)
                orders = orders_count(blocks)
                _log.warning("not_answered", broker=self._name, orders=orders, error=str(error))
                if is_unknown and self._journals_sendings:
                    return None
                self._core.count("messages_sent_again")
            is_again = True
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, RESEND_S_MAX)

    # Taking answers.

    def take_answers(self) -> None:
        """Take what has been answered, and what was found out of what was not. Raises:
        ShardLostError.
        """
        self._take_answered()
        self._take_found()

    def _take_answered(self) -> None:
        done = [sent for sent in self._sent if sent.task.done()]
        if not done:
            return
        self._sent = [sent for sent in self._sent if not sent.task.done()]
        for sent in done:
            answer = sent.task.result()
            if answer is None:
                for block in sent.blocks:
                    self._doubt(block)
            elif answer.refusal.startswith("epoch"):
                raise ShardLostError(
                    f"{self._core.key}: the broker has heard of a higher epoch: {answer.refusal}"
                )
            elif answer.refusal.startswith("round") or (answer.refusal and len(sent.blocks) > 1):
                # Nothing of the message was taken: each block goes again by itself, so that a
                # refusal meets only whom it is for.
                self._alone += sent.blocks
            else:
                for block in sent.blocks:
                    if answer.refusal:
                        self._take_refusal(block, answer.refusal)
                    self._outcomes.end(block)

    def _take_refusal(self, block: OutboundSection, refusal: str) -> None:
        """Report a block's orders as rejected: the broker's word is final for it."""
        _log.error(
            "block_refused", broker=self._name, orders=block.count, refusal=refusal, alarm=True
        )
        self._core.count("blocks_refused")
        if isinstance(block.section, OrdersSubmitted):
            self._outcomes.revoke(block, ExecType.REJECTED)

    # Doubting.

    def take_left(self, block: OutboundSection, made_for: Column) -> OutboundSection:
        """Take what had left under a former owner, and was not answered, out of a block made for
        some subscriptions. Returns: the rest.
        """
        left, rest = self._state.sendings.split(block, made_for)
        for doubtful in left:
            self._queue.hold(doubtful)
            self._doubt(doubtful)
        return rest

    def _doubt(self, block: OutboundSection) -> None:
        """Take a block that left and was not answered: nobody but the broker knows whether it has
        it.
        """
        if not isinstance(block.section, OrdersSubmitted):
            # Registering again changes nothing, nor does cancelling.
            self._alone.append(block)
            return
        self._core.count("orders_in_doubt", block.count)
        if self._order_ids is OrderIds.LOOKED_UP:
            self._doubts.add(block)
        else:
            self._outcomes.park(block)
            self._doubts.probe()

    def _take_found(self) -> None:
        """Take what the broker says of doubtful blocks: orders it has are answered, the others will
        never arrive.
        """
        for block, known in self._doubts.take_found():
            if not known.all():
                self._outcomes.revoke(block.of_rows(~known), ExecType.REJECTED)
            self._outcomes.end(block)
