"""A broker's gateway: orders from the follower journals to the broker, in order where order
matters, exits first where it does not.

An order is the gateway's own from its frame's storage until the broker answers or it is revoked
unsent. The broker refuses a block of a lower epoch, so a superseded gateway places nothing (P5).

    follower journals --> this actor --> DispatchQueue --> OrderSender <--> broker
                              |                                |
                              | expired, cancelled,            | answered, refused,
                              | too many                       | unresolved
                              `--------> OrderOutcomes <-------'
                                               `--> the gateway's journal, then reports
"""

import asyncio
from typing import Any

from actors.broker_gateway.outcomes import OrderOutcomes
from actors.broker_gateway.sender import OrderSender
from actors.broker_gateway.unanswered import UnansweredOrders
from actors.counters import Counters
from actors.ports import Broker, Feed, Ports, StoredMessage, journal_stream
from actors.settings import ShardSettings
from actors.shard.careful import PoisonError
from actors.shard.committer import Output
from actors.shard.core import ShardCore
from actors.shard.input_names import message_input
from actors.shard.turn_gate import TurnGate
from engine.broker_gateway.outbound import OutboundSection
from engine.broker_gateway.queue import DispatchQueue
from engine.broker_gateway.shard import GatewayShard
from engine.journal.chain import ChainBrokenError
from engine.journal.cursors import Source
from engine.journal.events.gateway import OrdersRevoked, OrdersUnresolved
from engine.journal.events.orders import (
    ExecutionsApplied,
    FollowUpsQueued,
    LaterAttemptsFound,
    OrdersUnanswered,
    TradesCorrected,
)
from engine.journal.frame import (
    FrameHeader,
    ShardKey,
    ShardKind,
    decode_events,
    frame_mark,
    is_frame,
    shard_in,
)
from engine.messages.blocks import CancelsSubmitted, OrdersSubmitted
from engine.values.order_status import ExecType

FOLLOWER_STREAM = journal_stream(ShardKey(ShardKind.FOLLOWER, 0))
QUEUED_ENTRIES_MAX = 8_000_000
"""Entries beyond it are revoked as they come, and reported as rejected. If the gateway stopped
reading instead, the exits behind them would wait.
"""
FRAMES_MAX = 16
EXPIRY_NS_EVERY = 100_000_000
TRIES_MAX = 6
"""The number of owners that must die with a frame alone in hand before the next one stops for good.
Then an operator must come, so kills that came by chance must not add up to it.
"""
NOT_FOR_BROKERS = frozenset(
    (ExecutionsApplied.TAG, FollowUpsQueued.TAG, TradesCorrected.TAG, LaterAttemptsFound.TAG)
)
"""Half of a follower journal's bytes, with nothing in them for a broker. They are verified with
their frame, but not decoded.
"""


class BrokerGatewayShardActor:
    """The gateway of one broker; `shard` numbers the broker."""

    def __init__(
        self,
        shard: int,
        incarnation: str,
        ports: Ports,
        settings: ShardSettings,
        gate: TurnGate | None = None,
        *,
        name: str,
        broker: Broker,
    ) -> None:
        self.state = GatewayShard()
        self.core = ShardCore(
            self, ShardKey(ShardKind.GATEWAY, shard), incarnation, ports, settings, self.state, gate
        )
        self._name = name
        self._feed: Feed | None = None
        self.queue = DispatchQueue()
        self.outcomes = OrderOutcomes(self.core, self.state, self.queue, name, self._now)
        self.sender = OrderSender(
            self.core,
            self.state,
            self.queue,
            self.outcomes,
            name=name,
            broker=broker,
            now=self._now,
        )
        self.unanswered = UnansweredOrders(
            self.core,
            self.state,
            self.queue,
            name,
            settings.answer_ns_max(name),
            self.sender.answers.look_up,
        )
        self._inputs_ns = 0
        self._expiry_ns = 0

    async def start(self) -> None:
        """Recover, then read all follower journals from where they were last answered."""
        await self.core.recover()
        read = self.state.read_sequence
        self._feed = await self.core.inputs.open_feed(
            FOLLOWER_STREAM,
            ">",
            after_sequence=read,
            seen_sequence=max(read, self.state.answered_sequence),
        )
        self.sender.introduction.begin(FOLLOWER_STREAM)

    async def close(self) -> None:
        """Stop reading and waiting."""
        await self.sender.close()
        await self.unanswered.close()
        if self._feed is not None:
            await self._feed.close()

    async def turn(self) -> None:
        """Take frames, take answers, revoke expired orders, send what may go, and now and then
        journal how far everything is answered.
        """
        if self.core.careful.is_on:
            await self._take_frame_alone()
        else:
            self._take_frames()
        self.sender.take_answers()
        self._watch_broker()
        now_ns = self.core.ports.clock.now_ns()
        if now_ns - self._expiry_ns >= EXPIRY_NS_EVERY:
            self._expiry_ns = now_ns
            self._revoke_expired()
        await self.sender.send()
        await self.outcomes.journal()
        await asyncio.sleep(0)

    def _watch_broker(self) -> None:
        """Tell an operator if the broker answers nothing, or does not report on orders."""
        self.unanswered.watch(self.sender.line.silent_ns)
        for section in self.sender.answers.take_known():
            self.unanswered.tell_of(section)
        self.unanswered.alarm()

    def _now(self) -> int:
        return self.core.event_time.next_ns(self._inputs_ns)

    # Reading.

    def _take_frames(self) -> None:
        assert self._feed is not None
        messages = self._feed.take(FRAMES_MAX)
        if len(messages) == FRAMES_MAX:
            self.core.inputs.arrived.set()
        for message in messages:
            self._take_frame(message)
        self.state.mark()

    async def _take_frame_alone(self) -> None:
        """Take the next frame alone (`actors.shard.careful`). Raises: PoisonError when this
        gateway's owners died with it: orders cannot be left out, so the gateway stops.

        When an operator starts the gateway again, it tries the frame again.
        """
        assert self._feed is not None
        messages = self._feed.take(1)
        if not messages:
            return
        message, careful = messages[0], self.core.careful
        self.core.inputs.arrived.set()
        if message.sequence <= self.state.answered_sequence:
            self._take_frame(message)
            self.state.mark()
            return
        tried = message_input(Source.ORDERS, message, 0)
        if tried == careful.poison and careful.tries >= TRIES_MAX and careful.fences_after == 1:
            raise PoisonError(
                f"{self.core.key}: expected to take the frame at sequence "
                f"{message.sequence} of the follower journals, found that it ended"
                f" the gateway {careful.tries} times when tried alone; mend the "
                "cause, then start the gateway's host again"
            )
        await self.core.alone.attempt(tried, lambda: self._journal_frame(message), self._now)

    async def _journal_frame(self, message: StoredMessage) -> None:
        self._take_frame(message)
        self.state.mark()
        await self.outcomes.journal(at_once=True)

    def _take_frame(self, message: StoredMessage) -> None:
        sequence, data = message.sequence, message.data
        self.state.read_sequence = sequence
        if not is_frame(data):
            # It may name a shard that does not exist, so it belongs to no view.
            for known in self.state.views.values():
                known.chain.check_foreign(data)
            self.core.foreign.step_over(message)
            return
        view = self.state.view(shard_in(data))
        header = view.chain.accept(data)
        if header is None:
            self.core.counts.frames_dropped += 1
            return
        mark = frame_mark(view.chain.hash)
        self._check_taken(header, mark)
        events = decode_events(header, data, skipped=NOT_FOR_BROKERS)
        self._inputs_ns = max(self._inputs_ns, header.event_time_ns)
        for event in events:
            view.learn(event)
            if sequence > self.state.answered_sequence:
                for section in view.sections_for(self._name, sequence, header.number, event):
                    section.frame_mark = mark
                    self._enqueue(section)
                if isinstance(event, OrdersUnanswered):
                    self.unanswered.take(view.shard, sequence, event)

    def _check_taken(self, header: FrameHeader, mark: int) -> None:
        """Raise ChainBrokenError if the broker took the orders of another frame of this number."""
        taken = self.state.taken.get(header.key.shard)
        if taken is not None and taken.number == header.number and taken.mark != mark:
            raise ChainBrokenError(
                f"journal of {header.key}: expected frame {header.number} as broker {self._name} "
                "took its orders, found another; the journal lost its end and was decided anew: "
                "restore it"
            )

    def _enqueue(self, made: OutboundSection) -> None:
        section = self.state.without_revoked(made)
        if isinstance(section.body, CancelsSubmitted):
            self._revoke_cancelled(section.follower_shard, section.body)
        elif isinstance(section.body, OrdersSubmitted):
            if self.state.submissions:
                section = self.sender.answers.take_submitted(section, made.orders.subscriptions)
            if not section.count:
                return
            is_over = self.queue.entries_count + section.count > QUEUED_ENTRIES_MAX
            if is_over and not section.is_exit and self._is_unsent(section):
                self.core.counts.entries_over_queue += section.count
                self.outcomes.revoke(section, ExecType.REJECTED)
                return
        self.queue.enqueue(section)

    # Revoking.

    def _is_unsent(self, section: OutboundSection) -> bool:
        unsent_after = self.sender.introduction.unsent_after
        return unsent_after is not None and section.sequence > unsent_after

    def _revoke_expired(self) -> None:
        """Revoke the queued orders that have expired."""
        unsent_after = self.sender.introduction.unsent_after
        if unsent_after is not None:
            for section in self.queue.take_expired(self._now(), unsent_after=unsent_after):
                self.outcomes.revoke(section, ExecType.EXPIRED)

    def _revoke_cancelled(self, shard: int, cancels: CancelsSubmitted) -> None:
        """Revoke the queued orders that a cancel names. The broker cancels those already sent."""
        unsent_after = self.sender.introduction.unsent_after
        if unsent_after is not None:
            for section in self.queue.take_cancelled(shard, cancels, unsent_after=unsent_after):
                self.outcomes.revoke(section, ExecType.CANCELED)

    # Hooks.

    def overlaps(self) -> bool:
        """Turns are taken while a frame is on its way: an order does not wait for this journal."""
        return True

    def keeps_back(self) -> bool:
        """Nothing is: each turn journals the outcomes that change the state."""
        return False

    def count_into(self, counters: Counters) -> None:
        """Set the counters that are read from the gateway."""
        counters.queued_orders = self.queue.orders_count
        counters.queued_exits = self.queue.orders_count - self.queue.entries_count
        counters.outstanding_messages = self.sender.outstanding_count
        counters.broker_silent_us = self.sender.line.silent_ns // 1000
        counters.unresolved_orders = self.state.unresolved_count
        counters.answered_orders = self.outcomes.answered_orders

    def dedicated_shards(self) -> tuple[int, ...]:
        """None: gateways hold no accounts."""
        return ()

    def on_replayed(self, event: Any) -> list[Output]:
        """Owe the reports of revoked and unresolved orders: the former owner may have died before
        it published them.
        """
        if isinstance(event, OrdersRevoked | OrdersUnresolved):
            return [self.outcomes.report(event)]
        return []

    def on_snapshot(self) -> None:
        """Bring the state to where an owner that restores it reads every order in hand again."""
        self.state.pass_marks(self.outcomes.answered_up_to())
