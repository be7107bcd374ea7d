"""The queue between the follower journals and the broker: it chooses the sections that go next.

Sections are ordered where order matters. An order waits for earlier ones of its account and
instrument, a cancel for the orders that it names, and every section of a shard for the introduction
of its accounts. A section that waits for nothing stands in one of three lines: introductions and
cancels, then exits, both first in, first out; then entries, one line per creator, and the creators
take turns. So no exit waits for another account's entry, and a creator's million orders do not keep
a small creator's waiting.

Cost: no step looks at the sections that are waiting, however many there are.
"""

import heapq
from collections import OrderedDict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from engine.broker_gateway.lanes import Lane
from engine.broker_gateway.outbound import OutboundSection, cancelled_orders
from engine.messages.blocks import AccountsRegistered, CancelsSubmitted, OrdersSubmitted
from engine.values.order_ids import CauseKind, OrderKey

MESSAGE_ORDERS_MAX = 65_536
MESSAGE_BYTES_MAX = 1 << 20
MESSAGE_SECTIONS_MAX = 256
"""Limits of one message; a larger section goes alone."""
TURN_ORDERS = 1024
"""The orders that a creator sends before the next one's turn, a section at least."""

_Ready = OrderedDict[int, OutboundSection]


class DispatchQueue:
    """All sections in a gateway's hands: waiting, ready, or sent and not answered."""

    def __init__(self) -> None:
        self.orders_count = 0
        """Orders not sent yet."""
        self.entries_count = 0
        self._ordinal = 0
        self._in_hand: dict[int, OutboundSection] = {}
        self._lanes: dict[tuple[int, str], Lane] = {}
        self._of_key: dict[tuple[int, OrderKey], list[OutboundSection]] = {}
        self._introductions: dict[int, OutboundSection] = {}
        self._first: _Ready = OrderedDict()
        self._exits: _Ready = OrderedDict()
        self._entries: OrderedDict[tuple[int, int], _Ready] = OrderedDict()
        self._unsent: dict[int, OutboundSection] = {}
        self._expiring: list[tuple[int, int]] = []
        self._expiring_up_to = 0

    # Taking in.

    def enqueue(self, outbound: OutboundSection) -> None:
        """Take a section in hand, to go when it may."""
        self._take_in_hand(outbound)
        if isinstance(outbound.body, OrdersSubmitted):
            self._unsent[outbound.ordinal] = outbound
            self._count_queued(outbound, outbound.count)
        if not outbound.waits_count:
            self._ready(outbound)

    def hold(self, outbound: OutboundSection) -> None:
        """Take a section in hand that was sent before. Later sections wait for it until `let_go`."""
        outbound.is_held = True
        self._take_in_hand(outbound)

    def _take_in_hand(self, outbound: OutboundSection) -> None:
        self._ordinal += 1
        outbound.ordinal = self._ordinal
        self._in_hand[outbound.ordinal] = outbound
        shard, section = outbound.follower_shard, outbound.body
        introduction = self._introductions.get(shard) if self._introductions else None
        if introduction is not None:
            _wait(outbound, introduction)
        if isinstance(section, OrdersSubmitted):
            key = outbound.key
            assert key is not None
            lane = self._lanes.get((shard, section.symbol))
            if lane is None:
                signal = key if key.cause_kind == CauseKind.SIGNAL else None
                lane = self._lanes[shard, section.symbol] = Lane(signal)
            for earlier in lane.add(outbound):
                _wait(outbound, earlier)
            self._of_key.setdefault((shard, key), []).append(outbound)
        elif isinstance(section, CancelsSubmitted):
            for key, _ in cancelled_orders(section):
                for earlier in self._of_key.get((shard, key), ()):
                    _wait(outbound, earlier)
        else:
            self._introductions[shard] = outbound

    def _count_queued(self, outbound: OutboundSection, count: int) -> None:
        self.orders_count += count
        if not outbound.is_exit:
            self.entries_count += count

    def _ready(self, outbound: OutboundSection) -> None:
        self._line(outbound)[outbound.ordinal] = outbound

    def _line(self, outbound: OutboundSection) -> _Ready:
        if not isinstance(outbound.body, OrdersSubmitted):
            return self._first
        if outbound.is_exit:
            return self._exits
        line = self._entries.get(outbound.creator)
        if line is None:
            line = self._entries[outbound.creator] = OrderedDict()
        return line

    # Sending.

    def next_to_send(self, orders_max: int | None = None) -> list[OutboundSection]:
        """Take out the sections of the next message. The broker's rate may limit the orders; a
        section beyond that is split. Returns: none when nothing may go.
        """
        message = _Message(orders_max)
        for line in (self._first, self._exits):
            while line:
                if not self._move(next(iter(line.values())), message, message.orders_left):
                    return message.sections
        self._take_turns(message)
        return message.sections

    def _take_turns(self, message: "_Message") -> None:
        """Add entries, creator by creator."""
        entries = self._entries
        share = TURN_ORDERS
        if message.orders_left is not None and entries:
            share = max(share, message.orders_left // len(entries))
        while entries:
            creator, line = next(iter(entries.items()))
            goes_on, left, before = True, share, len(message.sections)
            while goes_on and line and left > 0:
                limit = None if message.orders_left is None else min(left, message.orders_left)
                outbound = next(iter(line.values()))
                left -= outbound.count
                goes_on = self._move(outbound, message, limit)
            if not line:
                del entries[creator]
            elif len(message.sections) > before:
                # A creator whose section did not fit is still the next: it fits first in a message.
                entries.move_to_end(creator)
            if not goes_on:
                return

    def _move(self, outbound: OutboundSection, message: "_Message", orders_max: int | None) -> bool:
        """Move a section from its line into a message, as much of it as may go. Returns: whether
        there is room for more.
        """
        if (
            orders_max is not None
            and isinstance(outbound.body, OrdersSubmitted)
            and outbound.count > orders_max
        ):
            if not message.has_room(outbound, orders_max):
                return False
            message.add(self._split(outbound, orders_max))
            return message.orders_left != 0
        if not message.has_room(outbound, outbound.count):
            return False
        line = self._line(outbound)
        del line[outbound.ordinal]
        if isinstance(outbound.body, OrdersSubmitted):
            del self._unsent[outbound.ordinal]
            self._count_queued(outbound, -outbound.count)
        message.add(outbound)
        return True

    def _split(self, outbound: OutboundSection, count: int) -> OutboundSection:
        """Split the first orders off a section that stays in its line."""
        # The orders split off are no longer in the section, but later orders of their accounts must
        # still wait.
        self._lanes[outbound.follower_shard, outbound.orders.symbol].fill()
        part = outbound.of_rows(slice(0, count))
        outbound.body = outbound.of_rows(slice(count, None)).body
        outbound.parts_count += 1
        part.whole = outbound
        self._count_queued(outbound, -count)
        return part

    # Letting go.

    def let_go(self, outbound: OutboundSection) -> None:
        """Take a sent section, or a part of one, out of the gateway's hands: it was answered."""
        whole = outbound.whole or outbound
        whole.parts_count -= 1
        if not whole.parts_count and not whole.waits_count:
            self._end(whole)

    def _end(self, outbound: OutboundSection) -> None:
        del self._in_hand[outbound.ordinal]
        shard, section = outbound.follower_shard, outbound.body
        if isinstance(section, OrdersSubmitted):
            assert outbound.key is not None
            lane = self._lanes[shard, section.symbol]
            del lane.sections[outbound.ordinal]
            if not lane.sections:
                del self._lanes[shard, section.symbol]
            same = self._of_key[shard, outbound.key]
            if len(same) > 1:
                same.remove(outbound)
            else:
                del self._of_key[shard, outbound.key]
        elif isinstance(section, AccountsRegistered) and self._introductions.get(shard) is outbound:
            del self._introductions[shard]
        followers, outbound.followers = outbound.followers, None
        for follower in followers or ():
            follower.waits_count -= 1
            if not follower.waits_count:
                if not follower.parts_count:
                    self._end(follower)
                elif not follower.is_held:
                    self._ready(follower)

    # Revoking.

    def take_expired(self, now: int, *, unsent_after: int) -> list[OutboundSection]:
        """Take out the queued sections that expired, of frames after a sequence.

        Cost: a section that was sent soon after it came is never looked at.
        """
        for ordinal, outbound in reversed(self._unsent.items()):
            if ordinal <= self._expiring_up_to:
                break
            if outbound.orders.expire_time:
                heapq.heappush(self._expiring, (outbound.orders.expire_time, ordinal))
        self._expiring_up_to = self._ordinal
        expired = []
        while self._expiring and self._expiring[0][0] < now:
            found = self._unsent.get(heapq.heappop(self._expiring)[1])
            if found is not None and found.sequence > unsent_after:
                expired.append(self._take_rows(found, np.ones(found.count, np.bool_)))
        return expired

    def take_cancelled(
        self, shard: int, cancels: CancelsSubmitted, *, unsent_after: int
    ) -> Iterator[OutboundSection]:
        """Take out the queued orders that cancels name, of frames after a sequence."""
        for key, subscriptions in cancelled_orders(cancels):
            for outbound in list(self._of_key.get((shard, key), ())):
                if outbound.ordinal in self._unsent and outbound.sequence > unsent_after:
                    rows = np.isin(outbound.orders.subscriptions, subscriptions)
                    if rows.any():
                        yield self._take_rows(outbound, rows)

    def _take_rows(self, outbound: OutboundSection, rows: NDArray[np.bool_]) -> OutboundSection:
        taken = outbound.of_rows(rows)
        self._count_queued(outbound, -taken.count)
        outbound.body = outbound.of_rows(~rows).body
        if not outbound.count:
            del self._unsent[outbound.ordinal]
            self._leave_line(outbound)
            # A section that waits stays where later sections of its accounts see it: they must not
            # pass what it waited for.
            self.let_go(outbound)
        return taken

    def _leave_line(self, outbound: OutboundSection) -> None:
        if outbound.waits_count:
            return
        line = self._line(outbound)
        del line[outbound.ordinal]
        if not line and line is not self._exits:
            del self._entries[outbound.creator]

    def first_sequence(self) -> int | None:
        """Return the sequence of the first frame that holds a section in hand."""
        first = next(iter(self._in_hand.values()), None)
        return None if first is None else first.sequence


class _Message:
    """One message in the making. `orders_left` is what the rate allows, None for no limit."""

    __slots__ = ("_bytes_count", "_orders_count", "orders_left", "sections")

    def __init__(self, orders_max: int | None) -> None:
        self.sections: list[OutboundSection] = []
        self.orders_left = orders_max
        self._orders_count = 0
        self._bytes_count = 0

    def has_room(self, outbound: OutboundSection, orders_count: int) -> bool:
        """Return whether so many orders of a section fit. The first section always fits, unless the
        rate is spent.
        """
        if not isinstance(outbound.body, OrdersSubmitted):
            orders_count = 0
        elif self.orders_left == 0 or not orders_count:
            return False
        return not self.sections or (
            len(self.sections) < MESSAGE_SECTIONS_MAX
            and self._orders_count + orders_count <= MESSAGE_ORDERS_MAX
            and self._bytes_count + outbound.bytes_count <= MESSAGE_BYTES_MAX
        )

    def add(self, outbound: OutboundSection) -> None:
        """Add a section."""
        self.sections.append(outbound)
        self._bytes_count += outbound.bytes_count
        if isinstance(outbound.body, OrdersSubmitted):
            self._orders_count += outbound.count
            if self.orders_left is not None:
                self.orders_left -= outbound.count


def _wait(outbound: OutboundSection, earlier: OutboundSection) -> None:
    if earlier.followers is None:
        earlier.followers = []
    earlier.followers.append(outbound)
    outbound.waits_count += 1
