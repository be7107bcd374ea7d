"""The queue between the follower journals and the broker: it chooses the sections that go next.

    enqueue --> waiting --> ready, in a line --next_to_send--> sent --let_go--> out of hand
                   ^                                                                |
                   +----------------- frees the sections that wait for it ----------+

A section waits as long as something earlier must reach the broker before it:

- an order waits for earlier orders of its account and instrument. A lane holds the sections of one
  shard and instrument in their order (`engine.broker_gateway.lanes`);
- a cancel waits for the orders that it names;
- every section of a shard waits for the introduction of the shard's accounts.

A section that waits for nothing stands in one of three lines, and a message is filled from them in
this order:

1. introductions and cancels, first in, first out;
2. exits, first in, first out;
3. entries, in one line per creator. The creators take turns.

So no exit waits for another account's entry. A creator with a million orders does not hold up a
small creator. A section stays in the gateway's hands, and later ones wait for it, until the broker
has answered it.

Cost: no step looks at the sections that are waiting, however many there are.
"""

import heapq
from collections import OrderedDict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from engine.broker_gateway.lanes import Lane
from engine.broker_gateway.outbound import OutboundSection
from engine.messages.blocks import AccountsRegistered, CancelsSubmitted, OrdersSubmitted
from engine.values.order_ids import CauseKind, OrderKey, orders_by_key

MESSAGE_ORDERS_MAX = 65_536
MESSAGE_BYTES_MAX = 1 << 20
MESSAGE_SECTIONS_MAX = 256
"""Limits of one message; a larger section goes alone."""
TURN_ORDERS = 1024
"""The number of orders that a creator sends before it is the next creator's turn. It sends at least
one section.
"""

_Ready = OrderedDict[int, OutboundSection]


class DispatchQueue:
    """All sections in a gateway's hands: those that wait, those that are ready, and those that were
    sent and have no answer yet.
    """

    def __init__(self) -> None:
        self.orders_count = 0
        """The number of orders that are not sent yet."""
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

    def enqueue(self, section: OutboundSection) -> None:
        """Take a section in hand. It goes once nothing earlier is in the way."""
        self._take_in_hand(section)
        if isinstance(section.body, OrdersSubmitted):
            self._unsent[section.ordinal] = section
            self._count_queued(section, section.count)
        if not section.waits_count:
            self._ready(section)

    def hold(self, section: OutboundSection) -> None:
        """Take a section in hand that a former owner sent. Later sections wait for it until
        `let_go`.
        """
        section.is_held = True
        self._take_in_hand(section)

    def _take_in_hand(self, section: OutboundSection) -> None:
        self._ordinal += 1
        section.ordinal = self._ordinal
        self._in_hand[section.ordinal] = section
        shard, body = section.follower_shard, section.body
        introduction = self._introductions.get(shard) if self._introductions else None
        if introduction is not None:
            _wait(section, introduction)
        if isinstance(body, OrdersSubmitted):
            key = section.key
            assert key is not None
            lane = self._lanes.get((shard, body.symbol))
            if lane is None:
                signal = key if key.cause_kind == CauseKind.SIGNAL else None
                lane = self._lanes[shard, body.symbol] = Lane(signal)
            for earlier in lane.add(section):
                _wait(section, earlier)
            self._of_key.setdefault((shard, key), []).append(section)
        elif isinstance(body, CancelsSubmitted):
            for key, _ in orders_by_key(body):
                for earlier in self._of_key.get((shard, key), ()):
                    _wait(section, earlier)
        else:
            self._introductions[shard] = section

    def _count_queued(self, section: OutboundSection, count: int) -> None:
        self.orders_count += count
        if not section.is_exit:
            self.entries_count += count

    def _ready(self, section: OutboundSection) -> None:
        self._line(section)[section.ordinal] = section

    def _line(self, section: OutboundSection) -> _Ready:
        if not isinstance(section.body, OrdersSubmitted):
            return self._first
        if section.is_exit:
            return self._exits
        line = self._entries.get(section.creator)
        if line is None:
            line = self._entries[section.creator] = OrderedDict()
        return line

    # Sending.

    def next_to_send(self, orders_max: int | None = None) -> list[OutboundSection]:
        """Take the sections of the next message out of their lines. `orders_max` is what the
        broker's rate or its messages allow; a section that has more orders is split. Returns: no
        section when nothing may go.
        """
        message = _OutboundMessage(orders_max)
        for line in (self._first, self._exits):
            while line:
                if not self._move(next(iter(line.values())), message, message.orders_left):
                    return message.sections
        self._take_turns(message)
        return message.sections

    def _take_turns(self, message: "_OutboundMessage") -> None:
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
                section = next(iter(line.values()))
                left -= section.count
                goes_on = self._move(section, message, limit)
            if not line:
                del entries[creator]
            elif len(message.sections) > before:
                # A creator whose section did not fit keeps its turn: the section comes first in the
                # next message.
                entries.move_to_end(creator)
            if not goes_on:
                return

    def _move(
        self, section: OutboundSection, message: "_OutboundMessage", orders_max: int | None
    ) -> bool:
        """Move a section from its line into a message, or as many of its orders as may go. Returns:
        whether the message has room for more.
        """
        if (
            orders_max is not None
            and isinstance(section.body, OrdersSubmitted)
            and section.count > orders_max
        ):
            if not message.has_room(section, orders_max):
                return False
            message.add(self._split(section, orders_max))
            return message.orders_left != 0
        if not message.has_room(section, section.count):
            return False
        line = self._line(section)
        del line[section.ordinal]
        if isinstance(section.body, OrdersSubmitted):
            del self._unsent[section.ordinal]
            self._count_queued(section, -section.count)
        message.add(section)
        return True

    def _split(self, section: OutboundSection, count: int) -> OutboundSection:
        """Split the first orders off a section that stays in its line."""
        # The orders that are split off leave the section. Later orders of their accounts must still
        # wait for it, so the lane notes their accounts now.
        self._lanes[section.follower_shard, section.orders.symbol].fill()
        part = section.of_rows(slice(0, count))
        section.body = section.of_rows(slice(count, None)).body
        section.parts_count += 1
        part.whole = section
        self._count_queued(section, -count)
        return part

    # Letting go.

    def let_go(self, section: OutboundSection) -> None:
        """Take a section, or a part split off from one, out of the gateway's hands: the broker
        answered it.
        """
        whole = section.whole or section
        whole.parts_count -= 1
        if not whole.parts_count and not whole.waits_count:
            self._end(whole)

    def _end(self, section: OutboundSection) -> None:
        del self._in_hand[section.ordinal]
        shard, body = section.follower_shard, section.body
        if isinstance(body, OrdersSubmitted):
            assert section.key is not None
            lane = self._lanes[shard, body.symbol]
            del lane.sections[section.ordinal]
            if not lane.sections:
                del self._lanes[shard, body.symbol]
            same = self._of_key[shard, section.key]
            if len(same) > 1:
                same.remove(section)
            else:
                del self._of_key[shard, section.key]
        elif isinstance(body, AccountsRegistered) and self._introductions.get(shard) is section:
            del self._introductions[shard]
        followers, section.followers = section.followers, None
        for follower in followers or ():
            follower.waits_count -= 1
            if not follower.waits_count:
                if not follower.parts_count:
                    self._end(follower)
                elif not follower.is_held:
                    self._ready(follower)

    # Revoking.

    def take_expired(self, now: int, *, unsent_after: int) -> list[OutboundSection]:
        """Take out the queued sections that have expired and whose frames come after a stream
        sequence.

        Cost: none for a section that is sent before the next call.
        """
        for ordinal, section in reversed(self._unsent.items()):
            if ordinal <= self._expiring_up_to:
                break
            if section.orders.expire_time:
                heapq.heappush(self._expiring, (section.orders.expire_time, ordinal))
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
        """Take out the queued orders that cancels name and whose frames come after a stream
        sequence.
        """
        for key, subscriptions in orders_by_key(cancels):
            for section in list(self._of_key.get((shard, key), ())):
                if section.ordinal in self._unsent and section.sequence > unsent_after:
                    rows = np.isin(section.orders.subscriptions, subscriptions)
                    if rows.any():
                        yield self._take_rows(section, rows)

    def _take_rows(self, section: OutboundSection, rows: NDArray[np.bool_]) -> OutboundSection:
        taken = section.of_rows(rows)
        self._count_queued(section, -taken.count)
        section.body = section.of_rows(~rows).body
        if not section.count:
            del self._unsent[section.ordinal]
            self._leave_line(section)
            # A section that still waits stays in its lane although it is empty. Later sections of
            # its accounts must not pass the sections that it waits for.
            self.let_go(section)
        return taken

    def _leave_line(self, section: OutboundSection) -> None:
        if section.waits_count:
            return
        line = self._line(section)
        del line[section.ordinal]
        if not line and line is not self._exits:
            del self._entries[section.creator]

    def has_in_hand(self, shard: int, key: OrderKey) -> bool:
        """Return whether any order of a key is in hand: not sent yet, or sent and not answered."""
        return (shard, key) in self._of_key

    def first_sequence(self) -> int | None:
        """Return the sequence of the first frame that holds a section in hand."""
        first = next(iter(self._in_hand.values()), None)
        return None if first is None else first.sequence


class _OutboundMessage:
    """The message that is being filled. `orders_left` is what the broker still allows, None where
    it has no limit.
    """

    __slots__ = ("_bodies_count", "_bytes_count", "_orders_count", "orders_left", "sections")

    def __init__(self, orders_max: int | None) -> None:
        self.sections: list[OutboundSection] = []
        self.orders_left = orders_max
        self._bodies_count = 0
        self._orders_count = 0
        self._bytes_count = 0

    def has_room(self, section: OutboundSection, orders_count: int) -> bool:
        """Return whether so many orders of a section fit. The first section always fits, unless the
        broker allows no more orders.
        """
        if not isinstance(section.body, OrdersSubmitted):
            orders_count = 0
        elif self.orders_left == 0 or not orders_count:
            return False
        return not self.sections or (
            self._bodies_count + len(section.bodies) <= MESSAGE_SECTIONS_MAX
            and self._orders_count + orders_count <= MESSAGE_ORDERS_MAX
            and self._bytes_count + section.bytes_count <= MESSAGE_BYTES_MAX
        )

    def add(self, section: OutboundSection) -> None:
        """Add a section."""
        self.sections.append(section)
        self._bodies_count += len(section.bodies)
        self._bytes_count += section.bytes_count
        if isinstance(section.body, OrdersSubmitted):
            self._orders_count += section.count
            if self.orders_left is not None:
                self.orders_left -= section.count


def _wait(section: OutboundSection, earlier: OutboundSection) -> None:
    if earlier.followers is None:
        earlier.followers = []
    earlier.followers.append(section)
    section.waits_count += 1
