"""A broker's gateway: orders from the follower journals to the broker, in order where order matters, exits
first where it does not.

An order is the gateway's own from its frame's storage until the broker answers or it is withdrawn unsent.
A block of a lower epoch is refused by the broker, so a superseded gateway places nothing (P5). What was not
answered, after a time-out, a restart, a takeover (P9), depends on the broker (`OrderIds`):

    refused     sent again: the broker refuses the ids it has                            effectively once
    looked_up   journaled before it leaves; asked after, then answered or withdrawn      effectively once
    unchecked   journaled before it leaves; parked, a dead letter, open until reported   at most once
"""

import asyncio
from collections import deque
from typing import Any, NamedTuple

import numpy as np
import structlog

from actors.committer import Output
from actors.doubts import Doubts, check_answer
from actors.errors import OperatingError, OutcomeUnknownError
from actors.frame_size import FrameSize
from actors.journal_writer import ShardLostError, persist
from actors.order_rate import OrderRate
from actors.poison import PoisonError, message_input
from actors.ports import Broker, Feed, Ports, StoredMessage, journal_stream
from actors.settings import OrderIds, ShardSettings
from actors.shard import ShardCore
from actors.withdrawals import reports
from engine.blocks import (
    BlockAnswered,
    CancelsSubmitted,
    GatewayEpoch,
    OrdersSubmitted,
    SendingRound,
    decode_block,
    encode_block,
)
from engine.dispatch import DispatchQueue
from engine.events import (
    BlocksAnswered,
    ExecutionsApplied,
    FollowUpsQueued,
    OrdersParked,
    OrdersWithdrawn,
    SendingEnded,
    TradesCorrected,
)
from engine.frame import Cursor, ShardKey, ShardKind, Source, decode_events, shard_in
from engine.gateway import GatewayShard
from engine.order_state import ExecType
from engine.outgoing import Outgoing, orders_count
from engine.sections import SectionError

_log = structlog.get_logger()

OUTSTANDING_MAX = 8
QUEUED_ENTRIES_MAX = 8_000_000
"""Entries beyond it are withdrawn as they come, reported as rejected: not to read on would keep the exits behind them waiting."""
FRAMES_MAX = 16
EXPIRY_NS_EVERY = 100_000_000
COMMIT_NS_EVERY = 200_000_000
SENDINGS_COMMIT_NS_EVERY = 20_000_000
"""Answers that are not journaled when an owner dies are asked after, or parked, by its successor."""
RESEND_S_MIN = 0.2
RESEND_S_MAX = 5.0
TRIES_MAX = 6
"""How often a frame tried alone ends its owners before the next stops for good: to stop means that an operator must come, so kills that
come by chance just then must not add up to it."""
NOT_FOR_BROKERS = frozenset((ExecutionsApplied.TAG, FollowUpsQueued.TAG, TradesCorrected.TAG))
"""Half of a follower journal's bytes, and nothing in them for a broker: verified with their frame, not decoded."""


class Sent(NamedTuple):
    """A message on its way, and the task that waits for its answer: None when there is none and it must not go again."""

    blocks: list[Outgoing]
    task: "asyncio.Task[BlockAnswered | None]"


class BrokerGatewayShardActor:
    """The gateway of one broker; `shard` numbers the broker."""

    def __init__(
        self,
        shard: int,
        incarnation: str,
        ports: Ports,
        settings: ShardSettings,
        *,
        name: str,
        broker: Broker,
    ) -> None:
        self.state = GatewayShard()
        self.core = ShardCore(ShardKey(ShardKind.GATEWAY, shard), incarnation, ports, settings, self.state)
        self.core.counted = self._counted
        # Its own journal is no part of an order's way.
        self.core.overlaps = lambda: True
        self.core.may_snapshot = self._may_snapshot
        self._name = name
        self._broker = broker
        self._feed: Feed | None = None
        self._queue = DispatchQueue()
        self._alone: deque[Outgoing] = deque()
        self._sent: list[Sent] = []
        self._answered_orders = 0
        self._total_answered = 0
        self._committed_ns = 0
        self._inputs_ns = 0
        self._order_ids = settings.order_ids.get(name, OrderIds.REFUSED)
        self._journals_sendings = self._order_ids is not OrderIds.REFUSED
        self._doubts = Doubts(name, self._ask, self.core.arrived)
        self._ended: list[int] = []
        self._outcomes: list[OrdersWithdrawn | OrdersParked] = []
        self._expiry_ns = 0
        self._rate = OrderRate(settings.orders_per_s_max.get(name, 0))
        self._unsent_after: int | None = 0 if self._journals_sendings else None
        self._introduction: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Recover, then read all follower journals from where they were last answered."""
        self.core.resumed = self._resumed
        await self.core.recover()
        stream = journal_stream(ShardKey(ShardKind.FOLLOWER, 0))
        read = self.state.read_sequence
        self._feed = await self.core.open_feed(
            stream, ">", after_sequence=read, seen_sequence=max(read, self.state.answered_sequence)
        )

        self._introduction = asyncio.create_task(
            self._introduce(stream), name=f"introduction to {self._name}"
        )
        self._introduction.add_done_callback(lambda _: self.core.arrived.set())

    async def _introduce(self, stream: str) -> None:
        """Tell the broker of this epoch, from when on it refuses the former owner's blocks.

        Orders stored before that may have been sent by the former owner: what became of them is the
        broker's to say. Only later ones are known to be unsent while they are queued.
        """
        await persist(f"introduction to {self._name}", lambda: self._broker.submit(self._block()))
        if self._journals_sendings:
            return
        streams = self.core.ports.streams
        self._unsent_after = await persist(f"end of {stream}", lambda: streams.last_sequence(stream))

    def _block(self, *sections: Any) -> bytes:
        """Encode a block, behind what says who speaks as of now."""
        head: list[Any] = [GatewayEpoch(self.core.writer.epoch, self.core.event_time_ns(self._inputs_ns))]
        if self._order_ids is OrderIds.LOOKED_UP:
            head.append(SendingRound(self._doubts.round))
        return encode_block(*head, *sections)

    async def _ask(self, *sections: Any) -> list[Any]:
        """Hand sections over. Returns: the answer's. Raises: OperatingError, SectionError."""
        return check_answer(decode_block(await self._broker.submit(self._block(*sections))))

    def _is_unsent(self, outgoing: Outgoing) -> bool:
        return self._unsent_after is not None and outgoing.sequence > self._unsent_after

    async def close(self) -> None:
        """Stop reading and waiting."""
        if self._introduction is not None:
            self._introduction.cancel()
            await asyncio.gather(self._introduction, return_exceptions=True)
        await self._doubts.close()
        for sent in self._sent:
            sent.task.cancel()
        await asyncio.gather(*(sent.task for sent in self._sent), return_exceptions=True)
        if self._feed is not None:
            await self._feed.close()

    async def turn(self) -> None:
        """Take frames, take answers, send what may go, and now and then remember how far everything is
        answered.
        """
        if self.core.careful.is_on:
            await self._take_frame_alone()
        else:
            self._take_frames()
        self._take_answers()
        self._take_found()
        now = self.core.ports.clock.now_ns()
        if now - self._expiry_ns >= EXPIRY_NS_EVERY:
            self._expiry_ns = now
            self._withdraw_expired()
        await self._send()
        await self._remember()
        await asyncio.sleep(0)

    def _resumed(self, event: Any) -> list[Output]:
        """Report withdrawn and parked orders again: the former owner may have died before it did."""
        return [self._report(event)] if isinstance(event, OrdersWithdrawn | OrdersParked) else []

    # Reading.

    def _take_frames(self) -> None:
        assert self._feed is not None
        messages = self._feed.take(FRAMES_MAX)
        if len(messages) == FRAMES_MAX:
            self.core.arrived.set()
        for message in messages:
            self._take_frame(message.sequence, message.data)
        self.state.mark()

    async def _take_frame_alone(self) -> None:
        """Take the next frame by itself (`actors.poison`). Raises: PoisonError when it is what this gateway's owners ended with: orders
        cannot be left out, so it stops; started again by an operator, it tries the frame again.
        """
        assert self._feed is not None
        messages = self._feed.take(1)
        if not messages:
            return
        message, careful = messages[0], self.core.careful
        self.core.arrived.set()
        if message.sequence <= self.state.answered_sequence:
            self._take_frame(message.sequence, message.data)
            self.state.mark()
            return
        tried = message_input(Source.ORDERS, message, 0)
        if tried == careful.poison and careful.tries >= TRIES_MAX and careful.fences_after == 1:
            raise PoisonError(
                f"{self.core.key}: expected to take the frame at sequence {message.sequence} of the follower journals, found that it ended"
                f" the gateway {careful.tries} times when tried alone; mend the cause, then start the gateway's host again"
            )
        await self.core.try_alone(tried, lambda: self._take_alone(message), self._event_time)

    async def _take_alone(self, message: StoredMessage) -> None:
        self._take_frame(message.sequence, message.data)
        self.state.mark()
        await self._remember(at_once=True)

    def _event_time(self) -> int:
        return self.core.event_time_ns(self._inputs_ns)

    def _take_frame(self, sequence: int, data: bytes) -> None:
        view = self.state.view(shard_in(data))
        self.state.read_sequence = sequence
        head = view.chain.accept(data)
        if head is None:
            self.core.count("frames_dropped")
            return
        events = decode_events(head, data, skipped=NOT_FOR_BROKERS)
        self._inputs_ns = max(self._inputs_ns, head.event_time_ns)
        for event in events:
            view.learn(event)
            if sequence > self.state.answered_sequence:
                for outgoing in view.outgoing(self._name, sequence, head.number, event):
                    self._enqueue(self.state.without_withdrawn(outgoing))

    def _enqueue(self, outgoing: Outgoing) -> None:
        if isinstance(outgoing.section, CancelsSubmitted):
            self._withdraw_cancelled(outgoing.follower_shard, outgoing.section)
        elif isinstance(outgoing.section, OrdersSubmitted):
            if self.state.sendings:
                outgoing = self._take_left(outgoing)
            if not outgoing.count:
                return
            is_over = self._queue.entries_count + outgoing.count > QUEUED_ENTRIES_MAX
            if is_over and not outgoing.is_exit and self._is_unsent(outgoing):
                self.core.count("entries_over_queue", outgoing.count)
                self._withdraw(outgoing, ExecType.REJECTED)
                return
        self._queue.enqueue(outgoing)

    def _take_left(self, outgoing: Outgoing) -> Outgoing:
        """Take what had left under a former owner, and was not answered, out of a block. Returns: the rest."""
        left, rest = self.state.sendings.split(outgoing)
        for block in left:
            self._queue.hold(block)
            self._doubt(block)
        return rest

    # Sending.

    async def _send(self) -> None:
        """Send what may go, as many blocks in a message as fit, while the broker owes few answers."""
        if self._journals_sendings and not self._may_send():
            return
        journaled = asyncio.Event()
        messages: list[list[Outgoing]] = []
        while len(self._sent) + len(messages) < OUTSTANDING_MAX:
            blocks = [self._alone.popleft()] if self._alone else self._next_to_send()
            if not blocks:
                break
            messages.append(blocks)
        for blocks in messages:
            task = asyncio.create_task(self._submit(blocks, journaled), name=f"blocks for {self._name}")
            task.add_done_callback(lambda _: self.core.arrived.set())
            self._sent.append(Sent(blocks, task))
        if messages and self._journals_sendings:
            await self._journal_sendings(messages, journaled)
        else:
            journaled.set()

    def _may_send(self) -> bool:
        """Say whether the broker has heard of this owner, and nothing is in doubt."""
        return self._introduction is not None and self._introduction.done() and not self._doubts

    async def _journal_sendings(self, messages: list[list[Outgoing]], journaled: asyncio.Event) -> None:
        """Journal what is about to leave, all of it in one frame; it leaves once that is durable."""
        began = self.state.sendings.begin([block for blocks in messages for block in blocks])
        if began is None:
            journaled.set()
            return
        self.state.apply_event(began)

        async def leave() -> None:
            journaled.set()

        # What an outcome ended is said with that outcome, or a successor might find neither.
        ended = self._take_ended() if not self._outcomes else []
        await self.core.commit([began, *ended], self.core.event_time_ns(self._inputs_ns), [leave])

    def _take_ended(self) -> list[SendingEnded]:
        if not self._ended:
            return []
        event = SendingEnded(np.array(sorted(self._ended), np.int64))
        self._ended = []
        self.state.apply_event(event)
        return [event]

    def _next_to_send(self) -> list[Outgoing]:
        allowed = self._rate.allowed(self.core.ports.clock.now_ns())
        blocks = self._queue.next_to_send(allowed)
        if allowed is not None:
            self._rate.take(orders_count(blocks))
        return blocks

    async def _submit(self, blocks: list[Outgoing], journaled: asyncio.Event) -> BlockAnswered | None:
        """Hand blocks over in one message. Returns: the answer; None when there was none and they must not go again."""
        await journaled.wait()
        pause_s = RESEND_S_MIN
        while True:
            try:
                answer: BlockAnswered = (await self._ask(*[block.section for block in blocks]))[0]
                return answer
            except (OperatingError, SectionError) as error:
                is_unknown = isinstance(error, OutcomeUnknownError | SectionError)
                orders = orders_count(blocks)
                _log.warning("not_answered", broker=self._name, orders=orders, error=str(error))
                if is_unknown and self._journals_sendings:
                    return None
                self.core.count("messages_sent_again")
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, RESEND_S_MAX)

    def _take_answers(self) -> None:
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
                    f"{self.core.key}: the broker has heard of a higher epoch: {answer.refusal}"
                )
            elif answer.refusal.startswith("round") or (answer.refusal and len(sent.blocks) > 1):
                # Nothing of the message was taken: each block goes again by itself, so that a refusal meets only whom it is for.
                self._alone += sent.blocks
            else:
                for block in sent.blocks:
                    if answer.refusal:
                        self._take_refusal(block, answer.refusal)
                    self._end(block)

    def _end(self, block: Outgoing) -> None:
        """Take a block out of the gateway's hands: it is known what became of it."""
        self._queue.let_go(block)
        if isinstance(block.section, OrdersSubmitted):
            self._answered_orders += block.count
        if block.sending >= 0:
            self._ended.append(block.sending)

    def _take_refusal(self, block: Outgoing, refusal: str) -> None:
        """Report a block's orders as rejected: the broker's word is final for it."""
        _log.error("block_refused", broker=self._name, orders=block.count, refusal=refusal, alarm=True)
        self.core.count("blocks_refused")
        if isinstance(block.section, OrdersSubmitted):
            self._withdraw(block, ExecType.REJECTED)

    # Doubting.

    def _doubt(self, block: Outgoing) -> None:
        """Take a block that left and was not answered: nobody but the broker knows whether it has it."""
        if not isinstance(block.section, OrdersSubmitted):
            # Registering again changes nothing, nor does cancelling.
            self._alone.append(block)
            return
        self.core.count("orders_in_doubt", block.count)
        if self._order_ids is OrderIds.LOOKED_UP:
            self._doubts.add(block)
        else:
            self._park(block)
            self._doubts.probe()

    def _take_found(self) -> None:
        """Take what the broker says of doubtful blocks: orders it has are answered, the others will never arrive."""
        for block, known in self._doubts.take_found():
            if not known.all():
                self._withdraw(block.of_rows(~known), ExecType.REJECTED)
            self._end(block)

    def _park(self, block: Outgoing) -> None:
        """Leave a block's orders to whoever can find out: they are open until executions say otherwise."""
        assert block.key is not None
        _log.error("unknown_placement", broker=self._name, orders=block.count, alarm=True)
        subscriptions = block.orders.subscriptions
        event = OrdersParked(block.follower_shard, *block.key, block.sequence, subscriptions)
        self.state.apply_event(event)
        self._outcomes.append(event)
        self._end(block)

    # Withdrawing.

    def _withdraw_expired(self) -> None:
        """Withdraw the queued orders whose time is over."""
        if self._unsent_after is not None:
            now = self.core.event_time_ns(self._inputs_ns)
            for outgoing in self._queue.take_expired(now, unsent_after=self._unsent_after):
                self._withdraw(outgoing, ExecType.EXPIRED)

    def _withdraw_cancelled(self, shard: int, cancels: CancelsSubmitted) -> None:
        """Withdraw the queued orders that a cancel names; those already sent are the broker's to cancel."""
        if self._unsent_after is not None:
            for outgoing in self._queue.take_cancelled(shard, cancels, unsent_after=self._unsent_after):
                self._withdraw(outgoing, ExecType.CANCELED)

    def _withdraw(self, outgoing: Outgoing, exec_type: ExecType) -> None:
        if not outgoing.count:
            return
        assert outgoing.key is not None
        self.core.count("orders_withdrawn", outgoing.count)
        event = OrdersWithdrawn(
            outgoing.follower_shard,
            *outgoing.key,
            exec_type,
            self.state.withdrawn.get(outgoing.follower_shard, 0),
            self.core.event_time_ns(self._inputs_ns),
            outgoing.sequence,
            outgoing.orders.subscriptions,
        )
        self.state.apply_event(event)
        self._outcomes.append(event)

    # Remembering.

    async def _remember(self, *, at_once: bool = False) -> None:
        """Journal how far everything is answered: at once when orders were withdrawn or parked, or it is asked for, else now and then."""
        now = self.core.ports.clock.now_ns()
        every = SENDINGS_COMMIT_NS_EVERY if self._ended else COMMIT_NS_EVERY
        is_due = self._answered_orders > 0 and now - self._committed_ns >= every
        if not at_once and not self._outcomes and not is_due:
            return
        answered = self._answered_up_to()
        if (
            not at_once
            and not self._outcomes
            and not self._ended
            and answered <= self.state.answered_sequence
        ):
            return
        self._committed_ns = now
        outcomes, self._outcomes = self._outcomes, []
        outcomes = await self._journal_outcomes(outcomes)
        self.state.cursors[Source.ORDERS, 0] = Cursor(Source.ORDERS, 0, answered, answered)
        events: list[Any] = [*outcomes, *self._take_ended(), BlocksAnswered(self._answered_orders)]
        self.state.forget_passed()
        self.state.pass_marks(answered)
        self._total_answered += self._answered_orders
        self._answered_orders = 0
        outputs = [self._report(event) for event in outcomes]
        await self.core.commit(events, self.core.event_time_ns(self._inputs_ns), outputs)

    async def _journal_outcomes(
        self, outcomes: list[OrdersWithdrawn | OrdersParked]
    ) -> list[OrdersWithdrawn | OrdersParked]:
        """Journal withdrawn and parked orders beyond a frame's worth in frames of their own, under the cursor as it was: until
        the last is durable nothing is passed. Returns: those left for the last frame.
        """
        events: list[Any] = []
        size = FrameSize(events, self.core.settings.frame_bytes_max)
        for event in outcomes:
            if size.is_full:
                outputs = [self._report(each) for each in events]
                await self.core.commit(events, self.core.event_time_ns(self._inputs_ns), outputs)
                events = []
                size = FrameSize(events, self.core.settings.frame_bytes_max)
            events.append(event)
        return events

    def _answered_up_to(self) -> int:
        """Name the last sequence before the first block that is not answered."""
        first = self._queue.first_sequence()
        return self.state.read_sequence if first is None else first - 1

    def _may_snapshot(self) -> bool:
        """Have the state stand where an owner that takes it back reads every order in hand again."""
        self.state.pass_marks(self._answered_up_to())
        return True

    def _report(self, event: OrdersWithdrawn | OrdersParked) -> Output:
        made = list(reports(self._name, self.core.key.shard, event))

        async def publish() -> None:
            streams = self.core.ports.streams
            for subject, data, message_id in made:
                await persist(
                    "orders withdrawn or parked",
                    lambda: streams.publish(subject, data, message_id=message_id),  # noqa: B023
                )

        return publish

    def _counted(self) -> dict[str, int]:
        return {
            "queued_orders": self._queue.orders_count,
            "queued_exits": self._queue.orders_count - self._queue.entries_count,
            "outstanding_messages": len(self._sent) + len(self._alone) + len(self._doubts),
            "parked_orders": self.state.parked_count,
            "answered_orders": self._total_answered + self._answered_orders,
        }
