"""Open orders as blocks of columns, and what executions do to them and to the positions behind
them.

A block holds the orders that one part of one book placed for one cause, leg and attempt. Look-ups
go by that key and the row; a block goes when its last order ends, so hot state knows open orders
only (P8). Cash moves by the execution's notional, a buy's rounded up and a sell's down, and by the
broker's fee (P7).
"""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.columns.reductions import any_of, is_same
from engine.columns.state import State
from engine.follower.book import Book, Slot, joined
from engine.follower.order_group import OrderGroup, gathered, go_together, place
from engine.journal.events.orders import ExecutionsApplied
from engine.values.order_ids import OrderKey


class OpenOrders:
    """All open orders of a shard, by key."""

    def __init__(self) -> None:
        self._blocks: dict[OrderKey, list[OrderGroup]] = {}
        self._of_slot: dict[Slot, dict[int, OrderGroup]] = {}
        self._open_of: dict[OrderKey, int] = {}
        self._count = 0
        self._unnumbered: dict[OrderKey, set[tuple[int, str]]] = {}

    def add_gathered(self, block: OrderGroup) -> None:
        """Enter a block's orders, batched with the last blocks of their key where those are small
        too.

        Orders that one report each leads to would else make as many blocks, and every look-up would
        pass them all. A block at least as large as the new one is left alone, so that each order is
        moved a few times only.
        """
        place(block)
        while (last := self.blocks(block.key)[-1:]) and go_together(last[0], block):
            del self._of_slot[block.slot][id(last[0])]
            self._blocks[block.key].pop()
            block = gathered(last[0], block)
        self.enter(block)

    def enter(self, block: OrderGroup) -> None:
        """Enter a block whose orders are counted, or closed: those are to be opened one by one."""
        self._blocks.setdefault(block.key, []).append(block)
        self._of_slot.setdefault(block.slot, {})[id(block)] = block
        self._recount(block.key)

    def _recount(self, key: OrderKey) -> None:
        now = sum(int(np.count_nonzero(block.is_open)) for block in self._blocks.get(key, ()))
        self._count += now - self._open_of.pop(key, 0)
        if now:
            self._open_of[key] = now

    def blocks(self, key: OrderKey) -> list[OrderGroup]:
        """Name the blocks of a key."""
        return self._blocks.get(key, [])

    def note_attempt(self, slot: Slot, key: OrderKey, rows: NDArray[np.int64]) -> None:
        """Have open orders of the same cause know of a later attempt."""
        for block in self._of_slot.get(slot, {}).values():
            if block.key[:4] == key[:4] and block.key.attempt < key.attempt:
                block.last_attempts |= dict.fromkeys(block.open_rows(rows), key.attempt)

    def drop_closed(self, key: OrderKey) -> None:
        """Forget the blocks of a key that have no open order."""
        left = []
        for block in self._blocks.get(key, []):
            if any_of(block.is_open):
                left.append(block)
            else:
                del self._of_slot[block.slot][id(block)]
        if left:
            self._blocks[key] = left
        else:
            self._blocks.pop(key, None)
            self._unnumbered.pop(key, None)
        self._recount(key)

    def note_unnumbered(self, key: OrderKey, event: ExecutionsApplied) -> None:
        """Keep the ids of executions without a number for as long as a block of their key is
        open.
        """
        if event.numbers[0] < 0:
            self._unnumbered.setdefault(key, set()).update(
                (number, event.prefix) for number in event.subscriptions.tolist()
            )

    def note_known(self, key: OrderKey, subscription: int, exec_id: str) -> None:
        """Keep the id of an execution that an order had before it was worked again."""
        self._unnumbered.setdefault(key, set()).add((subscription, exec_id))

    def has_unnumbered(self, key: OrderKey, subscription: int, exec_id: str) -> bool:
        """Say whether an execution without a number was applied to a still open block."""
        return (subscription, exec_id) in self._unnumbered.get(key, ())

    def of_slot(self, slot: Slot, side: int) -> list[OrderGroup]:
        """Name the blocks of one instrument of a book on one side."""
        return [block for block in self._of_slot.get(slot, {}).values() if block.side == side]

    def entries_of(self, slot: Slot) -> list[OrderGroup]:
        """Name the blocks of one instrument of a book that open or add."""
        return [block for block in self._of_slot.get(slot, {}).values() if not block.is_exit]

    def holding(self, key: OrderKey, subscriptions: NDArray[np.int64]) -> OrderGroup | None:
        """Find the block of a key whose orders are those of just these subscriptions, row by
        row.
        """
        for block in self._blocks.get(key, ()):
            if len(block.rows) == len(subscriptions) and is_same(
                block.subscriptions, subscriptions
            ):
                return block
        return None

    def holding_all(
        self, keys: Sequence[OrderKey], subscriptions: Sequence[NDArray[np.int64]]
    ) -> list[OrderGroup] | None:
        """Find for each key the block whose orders are those of just its subscriptions, row by row;
        None when one has none such, or two are of one book.
        """
        if len(keys) == 1:
            block = self.holding(keys[0], subscriptions[0])
            return None if block is None else [block]
        found = []
        for key, column in zip(keys, subscriptions, strict=True):
            blocks = self._blocks.get(key, ())
            if len(blocks) != 1 or len(blocks[0].rows) != len(column):
                return None
            found.append(blocks[0])
        if len({block.book.index for block in found}) < len(found):
            return None
        are_theirs = is_same(
            joined([block.subscriptions for block in found]), joined(subscriptions)
        )
        return found if are_theirs else None

    @property
    def count(self) -> int:
        """How many orders are open."""
        return self._count

    def state(self) -> State:
        """Name the open orders as columns."""
        blocks = [block for key in sorted(self._blocks) for block in self._blocks[key]]
        headers = [
            (
                b.book.index,
                b.slot.index,
                *b.key,
                b.side,
                b.is_exit,
                b.price,
                b.limit_price,
                b.expire_time,
                b.fee_rate,
                b.transact_time,
                len(b.rows),
            )
            for b in blocks
        ]
        joined = [
            np.concatenate(
                (
                    b.rows,
                    b.quantity,
                    b.filled,
                    b.is_open.astype(np.int64),
                    b.is_cancelling.astype(np.int64),
                )
            )
            for b in blocks
        ]
        return {
            "order.head": np.array(headers, np.int64).reshape(-1),
            "order.columns": np.concatenate(joined) if joined else np.zeros(0, np.int64),
            "order.attempts": np.array(
                [
                    (n, *last)
                    for n, b in enumerate(blocks)
                    for last in sorted(b.last_attempts.items())
                ],
                np.int64,
            ).reshape(-1),
            "order.unnumbered": np.frombuffer(
                msgspec.msgpack.encode(
                    [(key, sorted(self._unnumbered[key])) for key in sorted(self._unnumbered)]
                ),
                np.uint8,
            ),
        }

    def restore(self, state: State, books: list[Book]) -> None:
        """Take the open orders back; positions already count them."""
        unnumbered = msgspec.msgpack.decode(state["order.unnumbered"].tobytes())
        self._unnumbered = {
            OrderKey(*key): {(number, text) for number, text in ids} for key, ids in unnumbered
        }
        last_attempts: dict[int, dict[int, int]] = {}
        for number, row, attempt in state["order.attempts"].reshape(-1, 3).tolist():
            last_attempts.setdefault(number, {})[row] = attempt
        start = 0
        for number, header in enumerate(state["order.head"].reshape(-1, 15).tolist()):
            book, slot, *rest = header
            (
                key,
                (side, is_exit, price, limit_price, expire_time, fee_rate, transact_time, count),
            ) = (
                OrderKey(*rest[:5]),
                rest[5:],
            )
            columns = np.array(state["order.columns"][start : start + 5 * count]).reshape(5, count)
            start += 5 * count
            owner = books[book]
            block = OrderGroup(
                key,
                owner,
                owner.slots[slot],
                side,
                bool(is_exit),
                price,
                limit_price,
                expire_time,
                fee_rate,
                transact_time,
                columns[0],
                columns[1],
                columns[2],
                columns[3] != 0,
                columns[4] != 0,
                last_attempts.get(number, {}),
            )
            self.enter(block)
