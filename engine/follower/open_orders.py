"""The open orders of a follower shard, in groups of one key each.

A look-up goes by key and row. A group is dropped when its last order ends, so hot state holds open
orders only (P8).
"""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.columns.reductions import any_of, is_same
from engine.columns.snapshot import Records, StoredState, integers_column, required
from engine.columns.state import State
from engine.follower.book import Book, joined
from engine.follower.order_group import OrderGroup, can_merge, count_as_open, merged
from engine.follower.slot import Slot
from engine.journal.events.orders import ExecutionsApplied
from engine.values.order_ids import OrderKey
from engine.values.order_terms import OrderTerms

ORDER_RECORDS: Records = {
    "order.head": required(
        *("book", "slot", *OrderKey._fields, "side", "is_exit", "price", "limit_price"),
        *("expire_time", "fee_rate", "transact_time", "rows_count"),
    ),
    "order.columns": required("row", "quantity", "filled", "is_open", "is_cancelling"),
    "order.attempts": required("group", "row", "attempt"),
    "order.unnumbered": required("key", "executions"),
}


class OpenOrders:
    """All open orders of a shard, by key."""

    def __init__(self) -> None:
        self._groups: dict[OrderKey, list[OrderGroup]] = {}
        self._of_slot: dict[Slot, dict[int, OrderGroup]] = {}
        self._open_of: dict[OrderKey, int] = {}
        self._count = 0
        self._unnumbered: dict[OrderKey, set[tuple[int, str]]] = {}

    def add_merged(self, group: OrderGroup) -> None:
        """Add new orders, merged with the last groups of their key while those are small.

        Reports that come one by one would otherwise make one group each, and every look-up would
        pass all of them. A group larger than twice the new one is left alone, so each order is
        moved only a few times.
        """
        count_as_open(group)
        while (last := self.of_key(group.key)[-1:]) and can_merge(last[0], group):
            del self._of_slot[group.slot][id(last[0])]
            self._groups[group.key].pop()
            group = merged(last[0], group)
        self.add(group)

    def add(self, group: OrderGroup) -> None:
        """Add a group whose orders are counted as open already, or are closed and to be opened one
        by one.
        """
        self._groups.setdefault(group.key, []).append(group)
        self._of_slot.setdefault(group.slot, {})[id(group)] = group
        self._recount(group.key)

    def _recount(self, key: OrderKey) -> None:
        now = sum(int(np.count_nonzero(group.is_open)) for group in self._groups.get(key, ()))
        self._count += now - self._open_of.pop(key, 0)
        if now:
            self._open_of[key] = now

    def of_key(self, key: OrderKey) -> list[OrderGroup]:
        """Return the groups of a key."""
        return self._groups.get(key, [])

    def groups(self) -> list[OrderGroup]:
        """List all groups."""
        return [group for groups in self._groups.values() for group in groups]

    def holds(self, group: OrderGroup) -> bool:
        """Return whether a group is still here: not dropped, nor merged with another."""
        return id(group) in self._of_slot.get(group.slot, {})

    def note_attempt(self, slot: Slot, key: OrderKey, rows: NDArray[np.int64]) -> None:
        """Note a later attempt on the open orders of the same cause."""
        for group in self._of_slot.get(slot, {}).values():
            if group.key[:4] == key[:4] and group.key.attempt < key.attempt:
                group.last_attempts |= dict.fromkeys(group.open_rows(rows), key.attempt)

    def drop_closed(self, key: OrderKey) -> None:
        """Drop the groups of a key that have no open order."""
        left = []
        for group in self._groups.get(key, []):
            if any_of(group.is_open):
                left.append(group)
            else:
                del self._of_slot[group.slot][id(group)]
        if left:
            self._groups[key] = left
        else:
            self._groups.pop(key, None)
            self._unnumbered.pop(key, None)
        self._recount(key)

    def note_unnumbered(self, event: ExecutionsApplied) -> None:
        """Keep the ids of executions without a number while a group of their key is open."""
        if event.numbers[0] < 0:
            self._unnumbered.setdefault(event.key, set()).update(
                (number, event.prefix) for number in event.subscriptions.tolist()
            )

    def note_known(self, key: OrderKey, subscription: int, exec_id: str) -> None:
        """Keep the id of an execution that an order had before it was reopened."""
        self._unnumbered.setdefault(key, set()).add((subscription, exec_id))

    def has_unnumbered(self, key: OrderKey, subscription: int, exec_id: str) -> bool:
        """Return whether an execution without a number was applied to a group still open."""
        return (subscription, exec_id) in self._unnumbered.get(key, ())

    def of_slot(self, slot: Slot, side: int) -> list[OrderGroup]:
        """Return the groups of one instrument of a book on one side."""
        return [group for group in self._of_slot.get(slot, {}).values() if group.terms.side == side]

    def entries_of(self, slot: Slot) -> list[OrderGroup]:
        """Return the groups of one instrument of a book that open or add."""
        return [group for group in self._of_slot.get(slot, {}).values() if not group.terms.is_exit]

    def open_quantity(self, key: OrderKey, book: Book, row: int) -> int:
        """Return how much of one order is open; 0 when the order is not open."""
        one = np.array([row], np.int64)
        for group in self.of_key(key):
            if group.book is book:
                at, there = group.find(one)
                if there[0] and group.is_open[at[0]]:
                    return int(group.quantity[at[0]] - group.filled[at[0]])
        return 0

    def find_exact(self, key: OrderKey, subscriptions: NDArray[np.int64]) -> OrderGroup | None:
        """Return the group of a key that has just these subscriptions, row by row."""
        for group in self._groups.get(key, ()):
            if len(group.rows) == len(subscriptions) and is_same(
                group.subscriptions, subscriptions
            ):
                return group
        return None

    def find_all_exact(
        self, keys: Sequence[OrderKey], subscriptions: Sequence[NDArray[np.int64]]
    ) -> list[OrderGroup] | None:
        """Return for each key the group that has just its subscriptions, row by row. Returns None
        when one key has no such group, or two groups are of one book.
        """
        if len(keys) == 1:
            group = self.find_exact(keys[0], subscriptions[0])
            return None if group is None else [group]
        found = []
        for key, column in zip(keys, subscriptions, strict=True):
            groups = self._groups.get(key, ())
            if len(groups) != 1 or len(groups[0].rows) != len(column):
                return None
            found.append(groups[0])
        if len({group.book.index for group in found}) < len(found):
            return None
        are_theirs = is_same(
            joined([group.subscriptions for group in found]), joined(subscriptions)
        )
        return found if are_theirs else None

    @property
    def count(self) -> int:
        """The number of open orders."""
        return self._count

    def state(self) -> State:
        """Return the open orders as columns."""
        groups = [group for key in sorted(self._groups) for group in self._groups[key]]
        columns = [np.concatenate(_columns_of(group)) for group in groups]
        attempts = [
            (number, *last)
            for number, group in enumerate(groups)
            for last in sorted(group.last_attempts.items())
        ]
        unnumbered = [(key, sorted(self._unnumbered[key])) for key in sorted(self._unnumbered)]
        return {
            "order.head": integers_column(list(map(_header_of, groups))),
            "order.columns": np.concatenate(columns) if columns else np.zeros(0, np.int64),
            "order.attempts": integers_column(attempts),
            "order.unnumbered": np.frombuffer(msgspec.msgpack.encode(unnumbered), np.uint8),
        }

    def restore(self, stored: StoredState, books: list[Book]) -> None:
        """Take the open orders back from a snapshot; positions already count them."""
        unnumbered = msgspec.msgpack.decode(stored.column("order.unnumbered").tobytes())
        self._unnumbered = {
            OrderKey(*key): {(number, text) for number, text in ids}
            for key, ids in stored.rows("order.unnumbered", unnumbered)
        }
        last_attempts: dict[int, dict[int, int]] = {}
        for number, row, attempt in stored.integers("order.attempts"):
            last_attempts.setdefault(number, {})[row] = attempt
        picks, values, start = stored.picks["order.columns"], stored.column("order.columns"), 0
        for number, header in enumerate(stored.integers("order.head")):
            count = header[-1]
            end = start + picks.written_count * count
            written = np.array(values[start:end], np.int64).reshape(picks.written_count, count)
            columns = picks.matrix(written)
            self.add(_restored(header, columns, books, last_attempts.get(number, {})))
            start = end


def _header_of(group: OrderGroup) -> tuple[int, ...]:
    terms = group.terms
    return (
        group.book.index,
        group.slot.index,
        *group.key,
        terms.side,
        terms.is_exit,
        terms.price,
        terms.limit_price,
        terms.expire_time,
        terms.fee_rate,
        terms.transact_time,
        len(group.rows),
    )


def _columns_of(group: OrderGroup) -> tuple[NDArray[np.int64], ...]:
    return (
        group.rows,
        group.quantity,
        group.filled,
        group.is_open.astype(np.int64),
        group.is_cancelling.astype(np.int64),
    )


def _restored(
    header: Sequence[int],
    columns: NDArray[np.integer],
    books: list[Book],
    last_attempts: dict[int, int],
) -> OrderGroup:
    book, key = books[header[0]], OrderKey(*header[2:7])
    side, is_exit, price, limit_price, expire_time, fee_rate, transact_time, _ = header[7:]
    terms = OrderTerms(side, price, limit_price, expire_time, is_exit, fee_rate, transact_time)
    rows, quantity, filled, is_open, is_cancelling = columns
    return OrderGroup(
        key,
        book,
        book.slots[header[1]],
        terms,
        rows,
        quantity,
        filled,
        is_open != 0,
        is_cancelling != 0,
        last_attempts,
    )
