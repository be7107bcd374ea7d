"""A broker's gateway: orders from the follower journals to the broker, in order where order matters, exits
first where it does not.

An order is the gateway's own from its frame's storage until the broker answers or it is withdrawn unsent.
The broker refuses repeated ids, so whatever was not answered is simply sent again: after a time-out, a
restart, a takeover (P9: effectively once). A block of a lower epoch is refused by the broker, so a
superseded gateway places nothing (P5).
"""

import asyncio
from collections import deque
from typing import Any, NamedTuple

import structlog

from actors.committer import Output
from actors.errors import OperatingError
from actors.frame_size import FrameSize
from actors.journal_writer import ShardLostError, persist
from actors.order_rate import OrderRate
from actors.ports import Broker, Feed, journal_stream
from actors.settings import ShardSettings
from actors.shard import Ports, ShardCore
from actors.withdrawals import withdrawn_report
from engine.blocks import (
    BlockAnswered,
    CancelsSubmitted,
    GatewayEpoch,
    OrdersSubmitted,
    decode_block,
    encode_block,
)
from engine.dispatch import DispatchQueue
from engine.events import (
    BlocksAnswered,
    ExecutionsApplied,
    FollowUpsQueued,
    OrdersWithdrawn,
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
RESEND_S_MIN = 0.2
RESEND_S_MAX = 5.0
NOT_FOR_BROKERS = frozenset((ExecutionsApplied.TAG, FollowUpsQueued.TAG, TradesCorrected.TAG))
"""Half of a follower journal's bytes, and nothing in them for a broker: verified with their frame, not decoded."""


class Sent(NamedTuple):
    """A message on its way, and the task that waits for its answer."""

    blocks: list[Outgoing]
    task: "asyncio.Task[BlockAnswered]"


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
        self._withdrawals: list[OrdersWithdrawn] = []
        self._expiry_ns = 0
        self._rate = OrderRate(settings.orders_per_s_max.get(name, 0))
        self._unsent_after: int | None = None
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

    async def _introduce(self, stream: str) -> None:
        """Tell the broker of this epoch, from when on it refuses the former owner's blocks.

        Orders stored before that may have been sent by the former owner: what became of them is the
        broker's to say. Only later ones are known to be unsent while they are queued.
        """
        epoch = GatewayEpoch(self.core.writer.epoch, self.core.event_time_ns(self._inputs_ns))
        await persist(f"introduction to {self._name}", lambda: self._broker.submit(encode_block(epoch)))
        streams = self.core.ports.streams
        self._unsent_after = await persist(f"end of {stream}", lambda: streams.last_sequence(stream))

    def _is_unsent(self, outgoing: Outgoing) -> bool:
        return self._unsent_after is not None and outgoing.sequence > self._unsent_after

    async def close(self) -> None:
        """Stop reading and waiting."""
        if self._introduction is not None:
            self._introduction.cancel()
            await asyncio.gather(self._introduction, return_exceptions=True)
        for sent in self._sent:
            sent.task.cancel()
        await asyncio.gather(*(sent.task for sent in self._sent), return_exceptions=True)
        if self._feed is not None:
            await self._feed.close()

    async def turn(self) -> None:
        """Take frames, take answers, send what may go, and now and then remember how far everything is
        answered.
        """
        self._take_frames()
        self._take_answers()
        now = self.core.ports.clock.now_ns()
        if now - self._expiry_ns >= EXPIRY_NS_EVERY:
            self._expiry_ns = now
            self._withdraw_expired()
        self._send()
        await self._remember()
        await asyncio.sleep(0)

    def _resumed(self, event: Any) -> list[Output]:
        """Report withdrawn orders again: the former owner may have died before it did."""
        return [self._report(event)] if isinstance(event, OrdersWithdrawn) else []

    # Reading.

    def _take_frames(self) -> None:
        assert self._feed is not None
        messages = self._feed.take(FRAMES_MAX)
        if len(messages) == FRAMES_MAX:
            self.core.arrived.set()
        for message in messages:
            self._take_frame(message.sequence, message.data)
        self.state.mark()

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
            if not outgoing.count:
                return
            is_over = self._queue.entries_count + outgoing.count > QUEUED_ENTRIES_MAX
            if is_over and not outgoing.is_exit and self._is_unsent(outgoing):
                self.core.count("entries_over_queue", outgoing.count)
                self._withdraw(outgoing, ExecType.REJECTED)
                return
        self._queue.enqueue(outgoing)

    # Sending.

    def _send(self) -> None:
        """Send what may go, as many blocks in a message as fit, while the broker owes few answers."""
        while len(self._sent) < OUTSTANDING_MAX:
            blocks = [self._alone.popleft()] if self._alone else self._next_to_send()
            if not blocks:
                return
            task = asyncio.create_task(self._submit(blocks), name=f"blocks for {self._name}")
            task.add_done_callback(lambda _: self.core.arrived.set())
            self._sent.append(Sent(blocks, task))

    def _next_to_send(self) -> list[Outgoing]:
        allowed = self._rate.allowed(self.core.ports.clock.now_ns())
        blocks = self._queue.next_to_send(allowed)
        if allowed is not None:
            self._rate.take(orders_count(blocks))
        return blocks

    async def _submit(self, blocks: list[Outgoing]) -> BlockAnswered:
        """Hand blocks over in one message, again and again until it is answered."""
        pause_s = RESEND_S_MIN
        while True:
            epoch = GatewayEpoch(self.core.writer.epoch, self.core.event_time_ns(self._inputs_ns))
            try:
                block = encode_block(epoch, *[each.section for each in blocks])
                answer = decode_block(await self._broker.submit(block))[0]
                if isinstance(answer, BlockAnswered):
                    return answer
                _log.error("broker_answer", expected="BlockAnswered", found=type(answer).__name__, alarm=True)
            except (OperatingError, SectionError) as error:
                self.core.count("messages_sent_again")
                orders = orders_count(blocks)
                _log.warning("sending_again", broker=self._name, orders=orders, error=str(error))
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, RESEND_S_MAX)

    def _take_answers(self) -> None:
        done = [sent for sent in self._sent if sent.task.done()]
        if not done:
            return
        self._sent = [sent for sent in self._sent if not sent.task.done()]
        for sent in done:
            refusal = sent.task.result().refusal
            if refusal.startswith("epoch"):
                raise ShardLostError(f"{self.core.key}: the broker has heard of a higher epoch: {refusal}")
            if refusal and len(sent.blocks) > 1:
                # Nothing of the message was taken: each block goes again by itself, so that the refusal meets only whom it is for.
                self._alone += sent.blocks
                continue
            for block in sent.blocks:
                if refusal:
                    self._take_refusal(block, refusal)
                self._queue.let_go(block)
                if isinstance(block.section, OrdersSubmitted):
                    self._answered_orders += block.count

    def _take_refusal(self, block: Outgoing, refusal: str) -> None:
        """Report a block's orders as rejected: the broker's word is final for it."""
        _log.error("block_refused", broker=self._name, orders=block.count, refusal=refusal, alarm=True)
        self.core.count("blocks_refused")
        if isinstance(block.section, OrdersSubmitted):
            self._withdraw(block, ExecType.REJECTED)

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
        self._withdrawals.append(event)

    # Remembering.

    async def _remember(self) -> None:
        """Journal how far everything is answered: at once when orders were withdrawn, else now and then."""
        now = self.core.ports.clock.now_ns()
        is_due = self._answered_orders > 0 and now - self._committed_ns >= COMMIT_NS_EVERY
        if not self._withdrawals and not is_due:
            return
        answered = self._answered_up_to()
        if not self._withdrawals and answered <= self.state.answered_sequence:
            return
        withdrawn, self._withdrawals = self._withdrawals, []
        self._committed_ns = now
        withdrawn = await self._journal_withdrawn(withdrawn)
        self.state.cursors[Source.ORDERS, 0] = Cursor(Source.ORDERS, 0, answered, answered)
        self.state.forget_passed()
        self.state.pass_marks(answered)
        events: list[Any] = [*withdrawn, BlocksAnswered(self._answered_orders)]
        self._total_answered += self._answered_orders
        self._answered_orders = 0
        outputs = [self._report(event) for event in withdrawn]
        await self.core.commit(events, self.core.event_time_ns(self._inputs_ns), outputs)

    async def _journal_withdrawn(self, withdrawn: list[OrdersWithdrawn]) -> list[OrdersWithdrawn]:
        """Journal withdrawn orders beyond a frame's worth in frames of their own, under the cursor as it was: until the last
        is durable nothing is passed. Returns: those left for the last frame.
        """
        events: list[Any] = []
        size = FrameSize(events, self.core.settings.frame_bytes_max)
        for event in withdrawn:
            if size.is_full:
                reports = [self._report(each) for each in events]
                await self.core.commit(events, self.core.event_time_ns(self._inputs_ns), reports)
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

    def _report(self, event: OrdersWithdrawn) -> Output:
        report = withdrawn_report(self._name, event)

        async def publish() -> None:
            await persist(
                "withdrawn orders",
                lambda: self.core.ports.streams.publish(
                    report.subject, report.data, message_id=report.message_id
                ),
            )

        return publish

    def _counted(self) -> dict[str, int]:
        return {
            "queued_orders": self._queue.orders_count,
            "queued_exits": self._queue.orders_count - self._queue.entries_count,
            "outstanding_messages": len(self._sent) + len(self._alone),
            "answered_orders": self._total_answered + self._answered_orders,
        }
