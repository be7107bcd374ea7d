"""One follower shard as the ledgers are compared with it: its orders by id, its executions by execution id, and what was met there."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from cluster.journal_tables.executions import Executions
from cluster.journal_tables.followers import FollowerTables
from cluster.journal_tables.gather import Ints, Names
from cluster.journal_tables.orders import Orders
from cluster.journal_tables.outcomes import OrderIndex, positions, sorted_order


class ExecutionGroup(NamedTuple):
    """The applied executions of one broker and id prefix. Shapes: `numbers` ascend, `rows` are the executions' rows."""

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
    """What the brokers' ledgers must say of one follower shard. `taken` counts how often a ledger holds each order."""

    def __init__(
        self,
        tables: FollowerTables,
        orders: Orders,
        index: OrderIndex,
        executions: Executions,
        names: Names,
        *,
        has_unread: bool,
    ) -> None:
        self.tables = tables
        self.orders = orders
        self.index = index
        self.executions = executions
        self.has_unread = has_unread
        self.last_number = tables.last_number
        self.taken = np.zeros(orders.rows_count, np.uint16)
        self.is_withdrawn = np.zeros(orders.rows_count, np.bool_)
        self.is_parked = np.zeros(orders.rows_count, np.bool_)
        self.is_met = np.zeros(executions.rows_count, np.bool_)
        self.groups = grouped(executions)
        self.section_symbols = np.array(
            [
                names.number(tables.symbols.get(key, "?"))
                for key in zip(orders.creator_shards.tolist(), orders.instruments.tolist(), strict=True)
            ],
            np.int64,
        ).reshape(-1)
        brokers = {broker: number for number, broker in enumerate(sorted(set(tables.account_brokers)))}
        self.brokers = brokers
        of_account = np.array([brokers[broker] for broker in tables.account_brokers], np.int64).reshape(-1)
        self._broker_of_account = of_account

    def brokers_of(self, subscriptions: Ints) -> Ints:
        """Number the brokers of subscriptions' accounts."""
        return self._broker_of_account[self.tables.subscriptions["account"][subscriptions]]

    def orders_at(self, broker: str) -> Ints:
        """Name the rows of all orders of one broker."""
        number = self.brokers.get(broker)
        if number is None:
            return np.zeros(0, np.int64)
        if len(self.brokers) == 1:
            return np.arange(self.orders.rows_count)
        return np.flatnonzero(self.brokers_of(self.orders.subscriptions.astype(np.int64)) == number)


def grouped(executions: Executions) -> dict[tuple[str, str], ExecutionGroup]:
    """Sort executions by broker, prefix and number."""
    if not executions.rows_count:
        return {}
    groups = (executions.broker_of << 32 | executions.prefix_of)[executions.sections]
    is_one = int(groups.min()) == int(groups.max())
    order = sorted_order(executions.numbers) if is_one else np.lexsort((executions.numbers, groups))
    ordered = groups[order]
    bounds = [0, *(np.flatnonzero(ordered[1:] != ordered[:-1]) + 1).tolist(), len(order)]
    found = {}
    for start, stop in pairwise(bounds):
        group, rows = int(ordered[start]), order[start:stop]
        name = executions.brokers[group >> 32], executions.prefixes[group & 0xFFFFFFFF]
        found[name] = ExecutionGroup(executions.numbers[rows], rows)
    return found
