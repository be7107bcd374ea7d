"""One follower shard as the ledgers are compared with it: its orders by id, its executions by
execution id, and what was met there.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cluster.audit.quarantined import QuarantinedIds
from cluster.history.executions import Executions
from cluster.history.followers import FollowerTables
from cluster.history.gather import Ints, Names
from cluster.history.orders import Orders
from cluster.history.outcomes import OrderIndex
from cluster.history.sorting import positions, sorted_order, taken
from cluster.history.spill import IN_MEMORY, Spill


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
    """What the brokers' ledgers must say of one follower shard. `taken` counts how often a ledger
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
        marks = tables.spill.columns(orders.rows_count, np.uint16, np.bool_, np.bool_)
        self.taken, self.is_revoked, self.is_unresolved = marks
        (self.is_met,) = tables.spill.columns(executions.rows_count, np.bool_)
        self.groups = grouped(executions, tables.spill)
        self.section_symbols = tables.spill.filled(
            len(orders.instruments), np.int64, lambda here: self._symbols_of(here, names)
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
        """Number the brokers of subscriptions' accounts."""
        return self._broker_of_account[self.tables.subscriptions["account"][subscriptions]]

    def _symbols_of(self, here: slice, names: Names) -> list[int]:
        """Number the symbols of some sections."""
        orders, symbols = self.orders, self.tables.symbols
        keys = zip(
            orders.creator_shards[here].tolist(), orders.instruments[here].tolist(), strict=True
        )
        return [names.number(symbols.get(key, "?")) for key in keys]

    def are_at(self, broker: str, here: slice) -> NDArray[np.bool_]:
        """Say which of some orders are one broker's."""
        number = self.brokers.get(broker)
        if number is None or len(self.brokers) == 1:
            return np.full(len(self.orders.subscriptions[here]), number is not None)
        found: NDArray[np.bool_] = (
            self.brokers_of(self.orders.subscriptions[here].astype(np.int64)) == number
        )
        return found


def grouped(
    executions: Executions, spill: Spill = IN_MEMORY
) -> dict[tuple[str, str], ExecutionGroup]:
    """Sort executions by broker, prefix and number."""
    if not executions.rows_count:
        return {}
    order = sorted_order(executions.numbers, spill)
    groups = executions.broker_of << 32 | executions.prefix_of
    if int(groups.min()) == int(groups.max()):
        bounds = [0, len(order)]
    else:
        of_row = spill.filled(
            len(order), np.int64, lambda here: groups[executions.sections[order[here]]]
        )
        # Sorted by number first, then by group without changing the order of equals: by group and
        # number.
        by_group = sorted_order(of_row, spill)
        order, ordered = taken(order, by_group, spill), taken(of_row, by_group, spill)
        before, after = ordered[:-1], ordered[1:]
        changes = spill.where(len(after), lambda here: after[here] != before[here]) + 1
        bounds = [0, *changes.tolist(), len(order)]
    numbers = taken(executions.numbers, order, spill)
    found = {}
    for start, stop in pairwise(bounds):
        group, rows = int(groups[executions.sections[order[start]]]), order[start:stop]
        name = executions.brokers[group >> 32], executions.prefixes[group & 0xFFFFFFFF]
        found[name] = ExecutionGroup(numbers[start:stop], rows)
    return found
