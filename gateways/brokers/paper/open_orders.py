"""Open orders: whole records with the remaining quantity of each row, by the due time of their next
slice.

A row is open while its remaining quantity is above zero. With the default settings nothing is open
between two blocks.
"""

import heapq
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from engine.columns.reductions import any_of, rows_of
from engine.values.order_status import ExecType
from gateways.brokers.ledger.records import OrdersTaken
from gateways.brokers.ledger.seen import key_of


class OpenBatch:
    """The open orders of one record. `remaining` (1e-8) is by row; `due_ns` is wall time."""

    __slots__ = ("due_ns", "key", "remaining", "slices_left", "taken")

    def __init__(self, taken: OrdersTaken, slices: int, due_ns: int) -> None:
        self.taken = taken
        self.key = key_of(taken)
        self.remaining = taken.quantities.copy()
        self.slices_left = slices
        self.due_ns = due_ns

    @property
    def is_done(self) -> bool:
        return not any_of(self.remaining)

    def next_slice(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Take one slice of what remains; the last slice takes everything. Returns: rows and
        their quantities. Rounds: floor.
        """
        quantities = (
            self.remaining // self.slices_left if self.slices_left > 1 else self.remaining.copy()
        )
        self.slices_left = max(1, self.slices_left - 1)
        self.remaining -= quantities
        rows = rows_of(quantities)
        return rows, quantities if len(rows) == len(quantities) else quantities[rows]

    def close_open(self, among: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """End open rows, all of them or those of some subscriptions. Returns: their
        subscriptions, ascending.
        """
        is_open = self.remaining > 0
        if among is not None:
            is_open &= np.isin(self.taken.subscriptions, among)
        self.remaining[is_open] = 0
        return self.taken.subscriptions[is_open]


class OpenBatches:
    """Open batches by key and by due time."""

    def __init__(self) -> None:
        self._batches: dict[int, list[OpenBatch]] = {}
        self._due: list[tuple[int, int, OpenBatch]] = []
        self._count = 0

    def __bool__(self) -> bool:
        return bool(self._batches)

    def add(self, batch: OpenBatch) -> None:
        """Keep a batch until it is done, and note when it is due."""
        self.keep(batch)
        self.schedule(batch)

    def keep(self, batch: OpenBatch) -> None:
        """Keep a batch without noting when it is due."""
        self._batches.setdefault(batch.key, []).append(batch)

    def schedule_all(self) -> None:
        """Note when every batch kept is due."""
        for batches in self._batches.values():
            for batch in batches:
                self.schedule(batch)

    def schedule(self, batch: OpenBatch) -> None:
        """Note when a batch is due next."""
        self._count += 1
        heapq.heappush(self._due, (batch.due_ns, self._count, batch))

    def remaining_of(self, key: int, subscription: int) -> int:
        """Return how much of an order is open."""
        found = [
            int(batch.remaining[batch.taken.subscriptions == subscription].sum())
            for batch in self.of_key(key)
        ]
        return sum(found)

    def reopen(self, batch: OpenBatch) -> bool:
        """Let orders taken before work more. An order that is open grows where it stands; one
        that is done gets a batch of its own, which is kept.

        Returns: whether the batch was kept, and must be scheduled.
        """
        (subscription,) = batch.taken.subscriptions.tolist()
        for other in self.of_key(batch.key):
            row = np.flatnonzero(
                (other.taken.subscriptions == subscription) & (other.remaining > 0)
            )
            if len(row):
                other.remaining[row] += batch.remaining
                return False
        self.keep(batch)
        return True

    def of_key(self, key: int) -> list[OpenBatch]:
        """Return the open batches of a cause, leg and attempt."""
        return list(self._batches.get(key, ()))

    def next_due_ns(self) -> int | None:
        """Return when the next batch is due, None when nothing is open."""
        while self._due and self._due[0][2].is_done:
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    def take_due(self, now_ns: int) -> Iterator[OpenBatch]:
        """Yield the batches that are due. The caller schedules again what is still open of one."""
        while (due_ns := self.next_due_ns()) is not None and due_ns <= now_ns:
            yield heapq.heappop(self._due)[2]

    def drop_done(self, key: int) -> None:
        """Forget the batches of a key that are done."""
        left = [batch for batch in self._batches.get(key, ()) if not batch.is_done]
        if left:
            self._batches[key] = left
        else:
            self._batches.pop(key, None)

    def apply_report(
        self,
        key: int,
        subscriptions: NDArray[np.int64],
        exec_types: NDArray[np.int64],
        quantities: NDArray[np.int64],
    ) -> None:
        """Subtract executions read back from the ledger from what remains: each from the batches
        of its order in their order, until all of it is subtracted.
        """
        is_trade = exec_types == ExecType.TRADE
        left = np.where(is_trade, quantities, 1)
        for batch in self.of_key(key):
            of_batch = batch.taken.subscriptions
            places = np.minimum(np.searchsorted(of_batch, subscriptions), len(of_batch) - 1)
            # An id that was taken again, and an order that works again, have batches of their own
            # beside the first.
            found = (of_batch[places] == subscriptions) & (batch.remaining[places] > 0) & (left > 0)
            rows, quantity = places[found], left[found]
            moved = np.where(is_trade[found], np.minimum(batch.remaining[rows], quantity), 0)
            batch.remaining[rows] = np.where(is_trade[found], batch.remaining[rows] - moved, 0)
            left[found] = np.where(is_trade[found], quantity - moved, 0)
            if is_trade[found].any():
                batch.slices_left = max(1, batch.slices_left - 1)
        self.drop_done(key)
