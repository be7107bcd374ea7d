"""A broker's gateway: orders from the follower journals to the broker, in order where order
matters, exits first where it does not.

An order is the gateway's own from its frame's storage until the broker answers or it is revoked
unsent. A block of a lower epoch is refused by the broker, so a superseded gateway places nothing
(P5).

    follower journals --> this actor --> DispatchQueue --> OrderSender <--> broker
                              | expired, cancelled, too many    | answered, refused, in doubt
                              `-----------> OrderOutcomes <-----'
                                                  `--> the gateway's journal, then reports
"""

import asyncio
from typing import Any

from actors.broker_gateway.outcomes import OrderOutcomes
from actors.broker_gateway.sender import OrderSender
from actors.ports import Broker, Feed, Ports, StoredMessage, journal_stream
from actors.settings import ShardSettings
from actors.shard.committer import Output
from actors.shard.core import ShardCore
from actors.shard.inputs import PoisonError, message_input
from engine.broker_gateway.outbound import OutboundSection
from engine.broker_gateway.queue import DispatchQueue
from engine.broker_gateway.shard import GatewayShard
from engine.journal.cursors import Source
from engine.journal.events.gateway import OrdersRevoked, OrdersUnresolved
from engine.journal.events.orders import (
    ExecutionsApplied,
    FollowUpsQueued,
    LaterAttemptsFound,
    TradesCorrected,
)
from engine.journal.frame import ShardKey, ShardKind, decode_events, shard_in
from engine.messages.blocks import CancelsSubmitted, OrdersSubmitted
from engine.values.order_status import ExecType

QUEUED_ENTRIES_MAX = 8_000_000
"""Entries beyond it are revoked as they come, reported as rejected: not to read on would keep the
exits behind them waiting.
"""
FRAMES_MAX = 16
EXPIRY_NS_EVERY = 100_000_000
TRIES_MAX = 6
"""How often a frame tried alone ends its owners before the next stops for good: to stop means that
an operator must come, so kills that come by chance just then must not add up to it.
"""
NOT_FOR_BROKERS = frozenset(
    (ExecutionsApplied.TAG, FollowUpsQueued.TAG, TradesCorrected.TAG, LaterAttemptsFound.TAG)
)
"""Half of a follower journal's bytes, and nothing in them for a broker: verified with their frame,
not decoded.
"""


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
        self.core = ShardCore(
            ShardKey(ShardKind.GATEWAY, shard), incarnation, ports, settings, self.state
        )
        self.core.counted = self._counted
        # Its own journal is no part of an order's way.
        self.core.overlaps = lambda: True
        self.core.may_snapshot = self._may_snapshot
        self._name = name
        self._feed: Feed | None = None
        self._queue = DispatchQueue()
        self.outcomes = OrderOutcomes(self.core, self.state, self._queue, name, self._now)
        self.sender = OrderSender(
            self.core,
            self.state,
            self._queue,
            self.outcomes,
            name=name,
            broker=broker,
            now=self._now,
        )
        self._inputs_ns = 0
        self._expiry_ns = 0

    async def start(self) -> None:
        """Recover, then read all follower journals from where they were last answered."""
        self.core.resumed = self._resumed
        await self.core.recover()
        stream = journal_stream(ShardKey(ShardKind.FOLLOWER, 0))
        read = self.state.read_sequence
        self._feed = await self.core.open_feed(
            stream, ">", after_sequence=read, seen_sequence=max(read, self.state.answered_sequence)
        )
        self.sender.introduce(stream)

    def _resumed(self, event: Any) -> list[Output]:
        """Report revoked and unresolved orders again: the former owner may have died before it
        did.
        """
        return (
            [self.outcomes.report(event)]
            if isinstance(event, OrdersRevoked | OrdersUnresolved)
            else []
        )

    async def close(self) -> None:
        """Stop reading and waiting."""
        await self.sender.close()
        if self._feed is not None:
            await self._feed.close()

    async def turn(self) -> None:
        """Take frames, take answers, send what may go, and now and then remember how far everything
        is answered.
        """
        if self.core.careful.is_on:
            await self._take_frame_alone()
        else:
            self._take_frames()
        self.sender.take_answers()
        now_ns = self.core.ports.clock.now_ns()
        if now_ns - self._expiry_ns >= EXPIRY_NS_EVERY:
            self._expiry_ns = now_ns
            self._withdraw_expired()
        await self.sender.send()
        await self.outcomes.remember()
        await asyncio.sleep(0)

    def _now(self) -> int:
        return self.core.event_time_ns(self._inputs_ns)

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
        """Take the next frame by itself (`actors.shard.careful`). Raises: PoisonError when it is
        what this gateway's owners ended with: orders cannot be left out, so it stops; started again
        by an operator, it tries the frame again.
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
                f"{self.core.key}: expected to take the frame at sequence "
                f"{message.sequence} of the follower journals, found that it ended"
                f" the gateway {careful.tries} times when tried alone; mend the "
                "cause, then start the gateway's host again"
            )
        await self.core.try_alone(tried, lambda: self._take_alone(message), self._now)

    async def _take_alone(self, message: StoredMessage) -> None:
        self._take_frame(message.sequence, message.data)
        self.state.mark()
        await self.outcomes.remember(at_once=True)

    def _take_frame(self, sequence: int, data: bytes) -> None:
        view = self.state.view(shard_in(data))
        self.state.read_sequence = sequence
        header = view.chain.accept(data)
        if header is None:
            self.core.count("frames_dropped")
            return
        events = decode_events(header, data, skipped=NOT_FOR_BROKERS)
        self._inputs_ns = max(self._inputs_ns, header.event_time_ns)
        for event in events:
            view.learn(event)
            if sequence > self.state.answered_sequence:
                for outgoing in view.outgoing(self._name, sequence, header.number, event):
                    self._enqueue(outgoing)

    def _enqueue(self, made: OutboundSection) -> None:
        outgoing = self.state.without_revoked(made)
        if isinstance(outgoing.section, CancelsSubmitted):
            self._withdraw_cancelled(outgoing.follower_shard, outgoing.section)
        elif isinstance(outgoing.section, OrdersSubmitted):
            if self.state.sendings:
                outgoing = self.sender.take_left(outgoing, made.orders.subscriptions)
            if not outgoing.count:
                return
            is_over = self._queue.entries_count + outgoing.count > QUEUED_ENTRIES_MAX
            if is_over and not outgoing.is_exit and self._is_unsent(outgoing):
                self.core.count("entries_over_queue", outgoing.count)
                self.outcomes.revoke(outgoing, ExecType.REJECTED)
                return
        self._queue.enqueue(outgoing)

    # Withdrawing.

    def _is_unsent(self, outgoing: OutboundSection) -> bool:
        unsent_after = self.sender.unsent_after
        return unsent_after is not None and outgoing.sequence > unsent_after

    def _withdraw_expired(self) -> None:
        """Withdraw the queued orders whose time is over."""
        unsent_after = self.sender.unsent_after
        if unsent_after is not None:
            for outgoing in self._queue.take_expired(self._now(), unsent_after=unsent_after):
                self.outcomes.revoke(outgoing, ExecType.EXPIRED)

    def _withdraw_cancelled(self, shard: int, cancels: CancelsSubmitted) -> None:
        """Withdraw the queued orders that a cancel names; those already sent are the broker's to
        cancel.
        """
        unsent_after = self.sender.unsent_after
        if unsent_after is not None:
            for outgoing in self._queue.take_cancelled(shard, cancels, unsent_after=unsent_after):
                self.outcomes.revoke(outgoing, ExecType.CANCELED)

    # Showing.

    def _may_snapshot(self) -> bool:
        """Have the state stand where an owner that takes it back reads every order in hand
        again.
        """
        self.state.pass_marks(self.outcomes.answered_up_to())
        return True

    def _counted(self) -> dict[str, int]:
        return {
            "queued_orders": self._queue.orders_count,
            "queued_exits": self._queue.orders_count - self._queue.entries_count,
            "outstanding_messages": self.sender.outstanding_count,
            "parked_orders": self.state.unresolved_count,
            "answered_orders": self.outcomes.answered_orders,
        }
