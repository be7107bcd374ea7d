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

import numpy as np
import structlog

from actors.committer import Output
from actors.errors import OperatingError
from actors.frame_size import FrameSize
from actors.journal_writer import ShardLostError, persist
from actors.order_rate import OrderRate
from actors.ports import Broker, Feed, journal_stream
from actors.settings import ShardSettings
from actors.shard import Ports, ShardCore
from engine.blocks import (
    BlockAnswered,
    CancelsSubmitted,
    ExecutionsReported,
    GatewayEpoch,
    OrdersSubmitted,
    decode_block,
    encode_block,
)
from engine.events import BlocksAnswered, ExecutionsApplied, FollowUpsQueued, OrdersWithdrawn
from engine.frame import Cursor, ShardKey, ShardKind, Source, decode_events, shard_in
from engine.gateway import GatewayShard, Outgoing
from engine.order_state import ExecType
from engine.sections import SectionError

_log = structlog.get_logger()

OUTSTANDING_MAX = 8
QUEUED_ORDERS_MAX = 2_000_000
OVERTAKE_MAX = 64
FRAMES_MAX = 16
EXPIRY_NS_EVERY = 100_000_000
COMMIT_NS_EVERY = 200_000_000
RESEND_S_MIN = 0.2
RESEND_S_MAX = 5.0
NOT_FOR_BROKERS = frozenset((ExecutionsApplied.TAG, FollowUpsQueued.TAG))
"""Half of a follower journal's bytes, and nothing in them for a broker: verified with their frame, not decoded."""


class Sent(NamedTuple):
    """A block on its way, and the task that waits for its answer."""

    outgoing: Outgoing
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
        self.core.may_snapshot = lambda: not self._queue and not self._sent
        self._name = name
        self._broker = broker
        self._feed: Feed | None = None
        self._queue: deque[Outgoing] = deque()
        self._sent: list[Sent] = []
        self._queued_orders = 0
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
        # A snapshot needs a moment in which everything read is answered.
        if self._queued_orders >= QUEUED_ORDERS_MAX or self.core.wants_snapshot():
            return
        messages = self._feed.take(FRAMES_MAX)
        if len(messages) == FRAMES_MAX:
            self.core.arrived.set()
        for message in messages:
            self._take_frame(message.sequence, message.data)

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
            self._withdraw_cancelled(outgoing, outgoing.section)
        self.state.view(outgoing.follower_shard).take_in_hand(outgoing)
        self._queue.append(outgoing)
        self._queued_orders += outgoing.count

    def _let_go(self, outgoing: Outgoing) -> None:
        outgoing.is_over = True
        self.state.view(outgoing.follower_shard).let_go(outgoing)

    # Sending.

    def _send(self) -> None:
        """Send what may go: exits before entries, nothing past an earlier block that it must follow."""
        while len(self._sent) < OUTSTANDING_MAX:
            chosen = self._next_to_send()
            if chosen is None:
                return
            chosen = self._within_rate(chosen)
            if chosen is None:
                return
            self._queued_orders -= chosen.count
            if chosen.count:
                task = asyncio.create_task(self._submit(chosen), name=f"block for {self._name}")
                task.add_done_callback(lambda _: self.core.arrived.set())
                self._sent.append(Sent(chosen, task))
            else:
                self._let_go(chosen)

    def _within_rate(self, chosen: Outgoing) -> Outgoing | None:
        """Take a block out of the queue, or as much of it as the broker's rate allows now; None when nothing may go."""
        allowed = self._rate.allowed(self.core.ports.clock.now_ns())
        if allowed is None or not isinstance(chosen.section, OrdersSubmitted) or chosen.count <= allowed:
            self._queue.remove(chosen)
        elif allowed == 0:
            return None
        else:
            first = np.arange(chosen.count) < allowed
            chosen.section, chosen = chosen.of_rows(~first).section, chosen.of_rows(first)
        if isinstance(chosen.section, OrdersSubmitted):
            self._rate.take(chosen.count)
        return chosen

    def _next_to_send(self) -> Outgoing | None:
        earlier = [sent.outgoing for sent in self._sent]
        first: Outgoing | None = None
        for index, candidate in enumerate(self._queue):
            if index >= OVERTAKE_MAX:
                break
            may_go = not candidate.waits(earlier)
            if may_go and (candidate.is_exit or not isinstance(candidate.section, OrdersSubmitted)):
                return candidate
            if may_go and first is None:
                first = candidate
            earlier.append(candidate)
        return first

    async def _submit(self, outgoing: Outgoing) -> BlockAnswered:
        """Hand one block over, again and again until it is answered."""
        pause_s = RESEND_S_MIN
        while True:
            epoch = GatewayEpoch(self.core.writer.epoch, self.core.event_time_ns(self._inputs_ns))
            try:
                answer = decode_block(await self._broker.submit(encode_block(epoch, outgoing.section)))[0]
                if isinstance(answer, BlockAnswered):
                    return answer
                _log.error("broker_answer", expected="BlockAnswered", found=type(answer).__name__, alarm=True)
            except (OperatingError, SectionError) as error:
                self.core.count("blocks_sent_again")
                _log.warning("sending_again", broker=self._name, orders=outgoing.count, error=str(error))
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, RESEND_S_MAX)

    def _take_answers(self) -> None:
        for sent in [sent for sent in self._sent if sent.task.done()]:
            answer = sent.task.result()
            if answer.refusal.startswith("epoch"):
                raise ShardLostError(
                    f"{self.core.key}: the broker has heard of a higher epoch: {answer.refusal}"
                )
            if answer.refusal:
                # The broker's word is final for the block; the orders in it are reported as rejected.
                _log.error(
                    "block_refused",
                    broker=self._name,
                    orders=sent.outgoing.count,
                    refusal=answer.refusal,
                    alarm=True,
                )
                self.core.count("blocks_refused")
                if isinstance(sent.outgoing.section, OrdersSubmitted):
                    self._withdraw(sent.outgoing, ExecType.REJECTED)
            self._sent.remove(sent)
            self._let_go(sent.outgoing)
            if isinstance(sent.outgoing.section, OrdersSubmitted):
                self._answered_orders += sent.outgoing.count

    # Withdrawing.

    def _withdraw_expired(self) -> None:
        """Withdraw the queued orders whose time is over."""
        now = self.core.event_time_ns(self._inputs_ns)
        expired = [
            queued
            for queued in self._queue
            if isinstance(queued.section, OrdersSubmitted)
            and 0 < queued.section.expire_time < now
            and self._is_unsent(queued)
        ]
        for outgoing in expired:
            self._queue.remove(outgoing)
            self._queued_orders -= outgoing.count
            self._let_go(outgoing)
            self._withdraw(outgoing, ExecType.EXPIRED)

    def _withdraw_cancelled(self, cancel: Outgoing, cancels: CancelsSubmitted) -> None:
        """Withdraw the queued orders that a cancel names; those already sent are the broker's to cancel."""
        keys = cancel.keys
        for outgoing in self._queue:
            same = outgoing.key in keys and outgoing.follower_shard == cancel.follower_shard
            if same and self._is_unsent(outgoing):
                taken = outgoing.cancelled_by(cancels)
                if taken.any():
                    withdrawn = outgoing.of_rows(taken)
                    self._let_go(withdrawn)
                    self._withdraw(withdrawn, ExecType.CANCELED)
                    self._queued_orders -= int(taken.sum())
                    outgoing.section = outgoing.of_rows(~taken).section

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
        withdrawn, self._withdrawals = self._withdrawals, []
        answered = self._answered_up_to()
        now = self.core.ports.clock.now_ns()
        moved = answered > self.state.answered_sequence and self._answered_orders > 0
        if not withdrawn and not (moved and now - self._committed_ns >= COMMIT_NS_EVERY):
            return
        self._committed_ns = now
        withdrawn = await self._journal_withdrawn(withdrawn)
        self.state.cursors[Source.ORDERS, 0] = Cursor(Source.ORDERS, 0, answered, answered)
        self.state.forget_passed()
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
        """Name the last sequence before the first block that is not answered; the queue is in order of it."""
        pending = [sent.outgoing.sequence for sent in self._sent]
        if self._queue:
            pending.append(self._queue[0].sequence)
        return min(pending) - 1 if pending else self.state.read_sequence

    def _report(self, event: OrdersWithdrawn) -> Output:
        """Make the report of withdrawn orders, as the broker would have made it."""
        count = len(event.subscriptions)
        zeros = np.zeros(count, np.int64)
        report = ExecutionsReported(
            event.follower_shard,
            f"{self._name}-withdrawn-{event.follower_shard}-",
            event.cause_kind,
            event.creator_shard,
            event.cause_number,
            event.leg,
            event.attempt,
            event.transact_time,
            np.arange(event.first_number, event.first_number + count, dtype=np.int64),
            event.subscriptions,
            np.full(count, event.exec_type, np.int64),
            zeros,
            zeros,
            zeros,
        )
        subject = f"executions.{self._name}.{event.follower_shard}"
        message_id = f"{self._name}-withdrawn-{event.follower_shard}-{event.first_number}"
        data = encode_block(report)

        async def publish() -> None:
            await persist(
                "withdrawn orders",
                lambda: self.core.ports.streams.publish(subject, data, message_id=message_id),
            )

        return publish

    def _counted(self) -> dict[str, int]:
        return {
            "queued_orders": self._queued_orders,
            "outstanding_blocks": len(self._sent),
            "answered_orders": self._total_answered + self._answered_orders,
        }
