"""One follower shard, prepared for the comparison with ledgers: its orders by id, its executions by
execution id, and marks for those that were met in a ledger.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cluster.audit.quarantined import QuarantinedIds
from engine.history.executions import Executions
from engine.history.followers import FollowerTables
from engine.history.gather import Names
from engine.history.orders import Orders
from engine.history.outcomes import OrderIndex
from engine.history.sorting import positions, sorted_order, taken
from engine.history.storage import IN_MEMORY, ColumnStorage, Ints, filled_column, rows_where


class ExecutionGroup(NamedTuple):
    """The applied executions of one broker and id prefix. Shapes: `numbers` ascend, `rows` are the
    executions' rows.
    """

    numbers: Ints
    rows: Ints

    def find(self, numbers: Ints) -> Ints:
        """Find executions by number. Returns: rows, -1 where none was applied."""
        if not len(self.numbers):
            return np.full(len(numbers), -1, np.int64)
        at = positions(self.numbers, numbers)
        found: Ints = np.where(self.numbers[at] == numbers, self.rows[at], -1)
        return found


class BrokerView:
    """One follower shard as the brokers' ledgers must have it. `taken` counts how often a ledger
    holds each order.
    """

    def __init__(
        self,
        tables: FollowerTables,
        orders: Orders,
        index: OrderIndex,
        executions: Executions,
        names: Names,
        *,
        has_unread: bool,
        quarantined: QuarantinedIds,
    ) -> None:
        self.tables = tables
        self.orders = orders
        self.index = index
        self.executions = executions
        self.has_unread = has_unread
        self.quarantined = quarantined
        self.last_number = tables.last_number
        marks = tables.storage.columns(orders.rows_count, np.uint16, np.bool_, np.bool_, np.bool_)
        self.taken, self.is_revoked, self.is_unresolved, self.is_resolved = marks
        (self.is_met,) = tables.storage.columns(executions.rows_count, np.bool_)
        self.groups = grouped(executions, tables.storage)
        self.section_symbols = filled_column(
            tables.storage,
            len(orders.instruments),
            np.int64,
            lambda here: self._symbols_of(here, names),
        )
        brokers = {
            broker: number for number, broker in enumerate(sorted(set(tables.account_brokers)))
        }
        self.brokers = brokers
        of_account = np.array(
            [brokers[broker] for broker in tables.account_brokers], np.int64
        ).reshape(-1)
        self._broker_of_account = of_account

    def brokers_of(self, subscriptions: Ints) -> Ints:
        """Return the numbers of the brokers of the subscriptions' accounts."""
        return self._broker_of_account[self.tables.subscriptions["account"][subscriptions]]

    def _symbols_of(self, here: slice, names: Names) -> list[int]:
        """Return the numbers of the symbols of some sections."""
        orders, symbols = self.orders, self.tables.symbols
        keys = zip(
            orders.creator_shards[here].tolist(), orders.instruments[here].tolist(), strict=True
        )
        return [names.number(symbols.get(key, "?")) for key in keys]

    def are_at(self, broker: str, here: slice) -> NDArray[np.bool_]:
        """Return which of some orders are for one broker."""
        number = self.brokers.get(broker)
        if number is None or len(self.brokers) == 1:
            return np.full(len(self.orders.subscriptions[here]), number is not None)
        found: NDArray[np.bool_] = (
            self.brokers_of(self.orders.subscriptions[here].astype(np.int64)) == number
        )
        return found


def grouped(
    executions: Executions, storage: ColumnStorage = IN_MEMORY
) -> dict[tuple[str, str], ExecutionGroup]:
    """Sort executions by broker, prefix and number."""
    if not executions.rows_count:
        return {}
    order = sorted_order(executions.numbers, storage)
    groups = executions.broker_of << 32 | executions.prefix_of
    if int(groups.min()) == int(groups.max()):
        bounds = [0, len(order)]
    else:
        of_row = filled_column(
            storage, len(order), np.int64, lambda here: groups[executions.sections[order[here]]]
        )
        # Sorted by number first, then by group without changing the order of equals: by group and
        # number.
        by_group = sorted_order(of_row, storage)
        order, ordered = taken(order, by_group, storage), taken(of_row, by_group, storage)
        before, after = ordered[:-1], ordered[1:]
        changes = rows_where(storage, len(after), lambda here: after[here] != before[here]) + 1
        bounds = [0, *changes.tolist(), len(order)]
    numbers = taken(executions.numbers, order, storage)
    found = {}
    for start, stop in pairwise(bounds):
        group, rows = int(groups[executions.sections[order[start]]]), order[start:stop]
        name = executions.brokers[group >> 32], executions.prefixes[group & 0xFFFFFFFF]
        found[name] = ExecutionGroup(numbers[start:stop], rows)
    return found
