"""Orders that a broker took and does not report on, as their follower shards ask about them.

A follower shard journals `OrdersUnanswered`. The gateway then sends the cancels of those orders
again, and looks them up where the broker answers look-ups. An order that the broker does not know
never arrives: it is over. For all others an operator must come: an alarm, and a dead letter that
names them.

While the broker answers nothing at all, only that is told, once. Its orders wait (P10).
"""

import asyncio
from collections.abc import Callable

import structlog

from actors.broker_gateway.reports import (
    LETTER_ORDERS_MAX,
    GatewayReport,
    UnresolvedOrders,
    letter_of,
)
from actors.retry import retry_until_done
from actors.shard.core import ShardCore
from engine.broker_gateway.outbound import OutboundSection, asked_about
from engine.broker_gateway.queue import DispatchQueue
from engine.broker_gateway.shard import GatewayShard
from engine.journal.events.orders import OrdersUnanswered
from engine.messages.blocks import CancelsSubmitted
from engine.values.order_ids import format_order_id
from engine.values.units import NS_PER_S

_log = structlog.get_logger()

REASON = "order_unanswered"
ALARM_NS_EVERY = 60 * NS_PER_S
"""Orders that are asked about for the first time raise an alarm at most so often."""
REMINDER_NS_EVERY = 86_400 * NS_PER_S
"""Orders that were asked about before raise one at most so often."""


class UnansweredOrders:
    """The unanswered orders of the broker called `name`, which has `answer_ns` for an answer.
    `look_up` takes a section of orders to ask the broker about.
    """

    def __init__(
        self,
        core: ShardCore,
        state: GatewayShard,
        queue: DispatchQueue,
        name: str,
        answer_ns: int,
        look_up: Callable[[OutboundSection], None] | None,
    ) -> None:
        self._core = core
        self._state = state
        self._queue = queue
        self._name = name
        self._answer_ns = answer_ns
        self._look_up = look_up
        self._is_silent = False
        self._alarm_ns = 0
        self._is_first = False
        self._count = 0
        self._named: list[str] = []
        self._sequence = 0
        self._posting: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Stop posting dead letters."""
        for task in self._posting:
            task.cancel()
        await asyncio.gather(*self._posting, return_exceptions=True)

    def watch(self, silent_ns: int) -> None:
        """Take how long the broker has owed an answer to any block, and tell of it once."""
        is_silent = silent_ns > self._answer_ns
        if is_silent and not self._is_silent:
            seconds = silent_ns // NS_PER_S
            _log.error("broker_silent", broker=self._name, silent_s=seconds, alarm=True)
            # What is asked about while it is silent is told afterwards, if it is still open then.
            self._alarm_ns = 0
        self._is_silent = is_silent

    # Asking.

    def take(self, shard: int, sequence: int, event: OrdersUnanswered) -> None:
        """Ask the broker about orders of a follower shard, unless they are still in this gateway's
        hands, or nothing is answered at all.
        """
        if self._is_silent or self._queue.has_in_hand(shard, event.key):
            return
        mine = self._state.view(shard).are_of(self._name, event.subscriptions)
        if not mine.any():
            return
        cancelled = event.subscriptions[mine & (event.cancels != 0)]
        if len(cancelled):
            kind, creator_shard, number, leg, attempt = event.key.columns(len(cancelled))
            cancels = CancelsSubmitted(shard, kind, creator_shard, number, cancelled, leg, attempt)
            self._queue.enqueue(OutboundSection(sequence, shard, cancels))
        asked = asked_about(sequence, shard, event.key, event.subscriptions[mine])
        self._is_first |= bool(event.is_first)
        if self._look_up is not None:
            self._look_up(asked)
        else:
            self.tell_of(asked)

    def tell_of(self, section: OutboundSection) -> None:
        """Take orders that an operator must be told of. Those asked about before are told when the
        next reminder is due.
        """
        assert section.key is not None
        if not self._is_first and not self._is_due(REMINDER_NS_EVERY):
            return
        subscriptions = section.orders.subscriptions
        high, room = section.key.high(section.follower_shard), LETTER_ORDERS_MAX - len(self._named)
        self._named += [
            format_order_id(high, section.key.low(each)) for each in subscriptions[:room].tolist()
        ]
        self._count += len(subscriptions)
        self._sequence = section.sequence

    # Telling.

    def alarm(self) -> None:
        """Tell an operator of what was gathered, if the last alarm is long enough ago."""
        if not self._count or not self._is_due(ALARM_NS_EVERY):
            return
        self._alarm_ns = self._core.ports.clock.now_ns()
        _log.error(REASON, broker=self._name, orders=self._count, first=self._named[0], alarm=True)
        task = asyncio.create_task(self._post(self._letter()), name=f"letter {self._core.key}")
        self._posting.add(task)
        task.add_done_callback(self._posting.discard)
        self._is_first, self._count, self._named = False, 0, []

    def _is_due(self, every_ns: int) -> bool:
        return self._core.ports.clock.now_ns() - self._alarm_ns >= every_ns

    def _letter(self) -> GatewayReport:
        letter = UnresolvedOrders(
            subject=f"broker.{self._name}.orders",
            sequence=self._sequence,
            reason=REASON,
            error=f"{self._count} orders: expected broker {self._name} to report on them, found no "
            "report in time; ask the broker, then let it report, or use resolve_order",
            excerpt=self._named[0],
            order_ids=self._named,
        )
        return letter_of(self._core.key.shard, letter, f"{letter.sequence}/{letter.excerpt}")

    async def _post(self, letter: GatewayReport) -> None:
        streams = self._core.ports.streams
        subject, data, message_id = letter
        await retry_until_done(
            "dead letter", lambda: streams.publish(subject, data, message_id=message_id)
        )
