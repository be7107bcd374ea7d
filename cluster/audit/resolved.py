"""Orders that operators resolved: their executions are in no broker's ledger, and are told apart
from those that are.

Each counts once, as its command said. The report counts and names them.
"""

import numpy as np
from numpy.typing import NDArray

from cluster.audit.followers_at_brokers import BrokerView
from cluster.audit.placement import ledger_ids
from cluster.audit.report import Check
from engine.history.followers import FollowerTables
from engine.history.storage import Ints
from engine.journal.events.orders import RESOLVED_PREFIX, OrderResolved
from engine.values.order_status import ENDS, ExecType
from gateways.brokers.ledger.ledger_reader import LedgerExecutions


def check_resolved(view: BrokerView, check: Check) -> None:
    """Check that each resolved order is in the journal, and that its execution and the word of an
    operator stand for each other. Mark both.
    """
    tables, executions = view.tables, view.executions
    of_operators = {
        int(executions.numbers[row]): int(row)
        for (_, prefix), group in view.groups.items()
        if prefix == RESOLVED_PREFIX
        for row in group.rows
    }
    for event in tables.resolved:
        name = _name(tables, event)
        order = _order_row(view, event)
        execution = of_operators.pop(event.number, None)
        if order < 0:
            check.fail(f"{name}: expected the order in the journal, found none")
        elif execution is None or _order_of(view, execution) != order:
            check.fail(f"{name}: expected its execution in the journal, found none")
        else:
            view.is_resolved[order] = view.is_met[execution] = True
            check.count("resolved")
    if of_operators:
        row = next(iter(of_operators.values()))
        check.fail(
            f"execution {executions.exec_id(row)!r} of follower shard {tables.shard}: expected an "
            "operator's command for it, found none",
            len(of_operators),
        )


def _order_row(view: BrokerView, event: OrderResolved) -> int:
    high, low = event.key.high(view.tables.shard), event.key.low(event.subscription)
    return int(view.index.find(np.array([high], np.uint64), np.array([low], np.uint64))[0])


def _order_of(view: BrokerView, execution: int) -> int:
    return int(view.index.find(*view.executions.ids(np.array([execution])))[0])


def _name(tables: FollowerTables, event: OrderResolved) -> str:
    order = event.key.order_id(tables.shard, event.subscription)
    account = tables.account_of(event.subscription)
    return f"order {order} of account {account}, resolved by command {event.command_id}"


def resolved_note(tables: FollowerTables) -> str:
    """Return a note about a shard's resolved orders, empty when there are none."""
    if not tables.resolved:
        return ""
    first = tables.resolved[0]
    why = f" ({first.text})" if first.text else ""
    return (
        f"follower shard {tables.shard}: operators resolved {len(tables.resolved)} orders, first "
        f"{_name(tables, first)}{why}"
    )


def are_of_resolved(batch: LedgerExecutions, view: BrokerView, rows: Ints) -> NDArray[np.bool_]:
    """Return which executions of a ledger an operator was faster to report: ends of resolved
    orders, and trades that are equal to an operator's.
    """
    found = np.zeros(len(rows), np.bool_)
    if not view.tables.resolved or not len(rows):
        return found
    orders = view.index.find(*ledger_ids(batch, rows))
    found[orders >= 0] = view.is_resolved[orders[orders >= 0]]
    ends = np.isin(batch.exec_types[rows], ENDS)
    traded = _traded(view)
    for at in np.flatnonzero(found & ~ends).tolist():
        row = int(rows[at])
        trade = int(batch.quantities[row]), int(batch.prices[row]), int(batch.fees[row])
        found[at] = (int(orders[at]), *trade) in traded
    return found


def _traded(view: BrokerView) -> set[tuple[int, ...]]:
    """Return the trades that operators reported: order, quantity, price, fee."""
    executions = view.executions
    found: set[tuple[int, ...]] = set()
    for (_, prefix), group in view.groups.items():
        if prefix == RESOLVED_PREFIX:
            for row in group.rows.tolist():
                if executions.exec_types[row] == ExecType.TRADE:
                    columns = executions.quantities, executions.prices, executions.fees
                    found.add((_order_of(view, row), *(int(column[row]) for column in columns)))
    return found
