"""Which of a gateway's blocks go next: the queue between the follower journals and the broker.

Ordered where order matters: an order waits for earlier ones of its account and instrument, a cancel
for the orders that it names, everything of a shard for its accounts' introduction. A block that
waits for nothing stands in one of three lines: introductions and cancels, then exits, both first
in, first out; then entries, a line per creator, the creators taking turns. So no exit waits for
another account's entry, and no creator's million orders keep a small creator's waiting.

Cost: no step looks at the blocks that are waiting, however many there are.
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
"""What goes together in one message; a larger block goes alone."""
TURN_ORDERS = 1024
"""What a creator sends before the next one's turn, a block at least."""

_Ready = OrderedDict[int, OutboundSection]


class DispatchQueue:
    """Every block in a gateway's hands: waiting, ready, or sent and not answered."""

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

    # In.

    def enqueue(self, block: OutboundSection) -> None:
        """Take a block in hand, to go when it may."""
        self._take_in_hand(block)
        if isinstance(block.section, OrdersSubmitted):
            self._unsent[block.ordinal] = block
            self._count_queued(block, block.count)
        if not block.waits_count:
            self._ready(block)

    def hold(self, block: OutboundSection) -> None:
        """Take a block in hand that was sent before: what comes later waits for it, and `let_go`
        ends that.
        """
        block.is_held = True
        self._take_in_hand(block)

    def _take_in_hand(self, block: OutboundSection) -> None:
        self._ordinal += 1
        block.ordinal = self._ordinal
        self._in_hand[block.ordinal] = block
        shard, section = block.follower_shard, block.section
        introduction = self._introductions.get(shard) if self._introductions else None
        if introduction is not None:
            _wait(block, introduction)
        if isinstance(section, OrdersSubmitted):
            key = block.key
            assert key is not None
            lane = self._lanes.get((shard, section.symbol))
            if lane is None:
                signal = key if key.cause_kind == CauseKind.SIGNAL else None
                lane = self._lanes[shard, section.symbol] = Lane(signal)
            for earlier in lane.add(block):
                _wait(block, earlier)
            self._of_key.setdefault((shard, key), []).append(block)
        elif isinstance(section, CancelsSubmitted):
            for key, _ in cancelled_orders(section):
                for earlier in self._of_key.get((shard, key), ()):
                    _wait(block, earlier)
        else:
            self._introductions[shard] = block

    def _count_queued(self, block: OutboundSection, count: int) -> None:
        self.orders_count += count
        if not block.is_exit:
            self.entries_count += count

    def _ready(self, block: OutboundSection) -> None:
        self._line(block)[block.ordinal] = block

    def _line(self, block: OutboundSection) -> _Ready:
        if not isinstance(block.section, OrdersSubmitted):
            return self._first
        if block.is_exit:
            return self._exits
        line = self._entries.get(block.creator)
        if line is None:
            line = self._entries[block.creator] = OrderedDict()
        return line

    # Out.

    def next_to_send(self, orders_max: int | None = None) -> list[OutboundSection]:
        """Take out the blocks that go in the next message, of at most so many orders where the
        broker's rate sets a limit; a block beyond that is split. Returns: none when nothing may go.
        """
        message = _Message(orders_max)
        for line in (self._first, self._exits):
            while line:
                if not self._move(next(iter(line.values())), message, message.orders_left):
                    return message.blocks
        self._take_turns(message)
        return message.blocks

    def _take_turns(self, message: "_Message") -> None:
        """Add entries, creator by creator."""
        entries = self._entries
        share = TURN_ORDERS
        if message.orders_left is not None and entries:
            share = max(share, message.orders_left // len(entries))
        while entries:
            creator, line = next(iter(entries.items()))
            goes_on, left, before = True, share, len(message.blocks)
            while goes_on and line and left > 0:
                limit = None if message.orders_left is None else min(left, message.orders_left)
                block = next(iter(line.values()))
                left -= block.count
                goes_on = self._move(block, message, limit)
            if not line:
                del entries[creator]
            elif len(message.blocks) > before:
                # One whose block did not fit is still the next: it fits first in a message.
                entries.move_to_end(creator)
            if not goes_on:
                return

    def _move(self, block: OutboundSection, message: "_Message", orders_max: int | None) -> bool:
        """Move a block from its line into a message, as much of it as may go. Returns: whether
        there is room for more.
        """
        if (
            orders_max is not None
            and isinstance(block.section, OrdersSubmitted)
            and block.count > orders_max
        ):
            if not message.has_room(block, orders_max):
                return False
            message.add(self._split(block, orders_max))
            return message.orders_left != 0
        if not message.has_room(block, block.count):
            return False
        line = self._line(block)
        del line[block.ordinal]
        if isinstance(block.section, OrdersSubmitted):
            del self._unsent[block.ordinal]
            self._count_queued(block, -block.count)
        message.add(block)
        return True

    def _split(self, block: OutboundSection, count: int) -> OutboundSection:
        """Split the first orders off a block that stays in its line."""
        # What is split off is no longer in the block, but its accounts' later orders must still
        # wait.
        self._lanes[block.follower_shard, block.orders.symbol].fill()
        part = block.of_rows(slice(0, count))
        block.section = block.of_rows(slice(count, None)).section
        block.parts_count += 1
        part.whole = block
        self._count_queued(block, -count)
        return part

    # Over.

    def let_go(self, block: OutboundSection) -> None:
        """Take a sent block, or a part of one, out of the gateway's hands: it was answered."""
        whole = block.whole or block
        whole.parts_count -= 1
        if not whole.parts_count and not whole.waits_count:
            self._end(whole)

    def _end(self, block: OutboundSection) -> None:
        del self._in_hand[block.ordinal]
        shard, section = block.follower_shard, block.section
        if isinstance(section, OrdersSubmitted):
            assert block.key is not None
            lane = self._lanes[shard, section.symbol]
            del lane.blocks[block.ordinal]
            if not lane.blocks:
                del self._lanes[shard, section.symbol]
            same = self._of_key[shard, block.key]
            if len(same) > 1:
                same.remove(block)
            else:
                del self._of_key[shard, block.key]
        elif isinstance(section, AccountsRegistered) and self._introductions.get(shard) is block:
            del self._introductions[shard]
        followers, block.followers = block.followers, None
        for follower in followers or ():
            follower.waits_count -= 1
            if not follower.waits_count:
                if not follower.parts_count:
                    self._end(follower)
                elif not follower.is_held:
                    self._ready(follower)

    # Revoked.

    def take_expired(self, now: int, *, unsent_after: int) -> list[OutboundSection]:
        """Take out the queued blocks whose time is over, of frames after a sequence.

        Cost: what was sent soon after it came is never looked at.
        """
        for ordinal, block in reversed(self._unsent.items()):
            if ordinal <= self._expiring_up_to:
                break
            if block.orders.expire_time:
                heapq.heappush(self._expiring, (block.orders.expire_time, ordinal))
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
            for block in list(self._of_key.get((shard, key), ())):
                if block.ordinal in self._unsent and block.sequence > unsent_after:
                    rows = np.isin(block.orders.subscriptions, subscriptions)
                    if rows.any():
                        yield self._take_rows(block, rows)

    def _take_rows(self, block: OutboundSection, rows: NDArray[np.bool_]) -> OutboundSection:
        taken = block.of_rows(rows)
        self._count_queued(block, -taken.count)
        block.section = block.of_rows(~rows).section
        if not block.count:
            del self._unsent[block.ordinal]
            self._leave_line(block)
            # One that waits stays where later blocks of its accounts see it: they must not pass
            # what it waited for.
            self.let_go(block)
        return taken

    def _leave_line(self, block: OutboundSection) -> None:
        if block.waits_count:
            return
        line = self._line(block)
        del line[block.ordinal]
        if not line and line is not self._exits:
            del self._entries[block.creator]

    # Seen.

    def first_sequence(self) -> int | None:
        """Name the sequence of the first frame that holds a block in hand."""
        first = next(iter(self._in_hand.values()), None)
        return None if first is None else first.sequence


class _Message:
    """What goes together. `orders_left` is what the rate allows, None when it sets no limit."""

    __slots__ = ("_bytes_count", "_orders_count", "blocks", "orders_left")

    def __init__(self, orders_max: int | None) -> None:
        self.blocks: list[OutboundSection] = []
        self.orders_left = orders_max
        self._orders_count = 0
        self._bytes_count = 0

    def has_room(self, block: OutboundSection, orders_count: int) -> bool:
        """Say whether so many orders of a block fit; the first block always does, unless the rate
        is spent.
        """
        if not isinstance(block.section, OrdersSubmitted):
            orders_count = 0
        elif self.orders_left == 0 or not orders_count:
            return False
        return not self.blocks or (
            len(self.blocks) < MESSAGE_SECTIONS_MAX
            and self._orders_count + orders_count <= MESSAGE_ORDERS_MAX
            and self._bytes_count + block.bytes_count <= MESSAGE_BYTES_MAX
        )

    def add(self, block: OutboundSection) -> None:
        """Add a block."""
        self.blocks.append(block)
        self._bytes_count += block.bytes_count
        if isinstance(block.section, OrdersSubmitted):
            self._orders_count += block.count
            if self.orders_left is not None:
                self.orders_left -= block.count


def _wait(block: OutboundSection, earlier: OutboundSection) -> None:
    if earlier.followers is None:
        earlier.followers = []
    earlier.followers.append(block)
    block.waits_count += 1
