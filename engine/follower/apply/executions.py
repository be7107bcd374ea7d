"""Executions, applied to orders and positions.

Whole groups of different books that traded are applied in one pass over their rows, as signals are
(`engine.follower.sizing.batch`). Everything else is applied order by order.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.columns.arithmetic import Int64s
from engine.columns.reductions import all_of, any_of, has_repeats, is_any, rows_of
from engine.follower.apply.trades import (
    Traded,
    apply_trades,
    apply_trades_in_turn,
    end_orders,
)
from engine.follower.book import joined
from engine.follower.order_group import OrderGroup
from engine.follower.sizing.batch import batched
from engine.follower.state import FollowerState
from engine.journal.events.orders import ExecutionsApplied
from engine.values.order_status import ENDS, ExecType

_TRADE = int(ExecType.TRADE)


def apply_executions(state: FollowerState, events: Sequence[ExecutionsApplied]) -> None:
    """Apply executions in their order."""
    items = ((_book_of(state, event), len(event.subscriptions), event) for event in events)
    for span in batched(items) if len(events) > 1 else (events,):
        _note_numbers(state, span)
        groups = state.orders.find_all_exact(
            [event.key for event in span], [event.subscriptions for event in span]
        )
        if groups is not None and all_of(joined([event.exec_types for event in span]) == _TRADE):
            _trade_groups(state, groups, span)
            for event in span:
                _drop_closed(state, event)
        else:
            for event in span:
                _report_rows(state, event)
                _drop_closed(state, event)


def _drop_closed(state: FollowerState, event: ExecutionsApplied) -> None:
    state.orders.note_unnumbered(event)
    state.orders.drop_closed(event.key)


def _book_of(state: FollowerState, event: ExecutionsApplied) -> Any:
    """Return the book that an event is about. An event about several, or about orders that are not
    open, is applied by itself.
    """
    groups = state.orders.of_key(event.key)
    return groups[0].book if len(groups) == 1 else event


def _note_numbers(state: FollowerState, events: Sequence[ExecutionsApplied]) -> None:
    first = events[0]
    if all(event.prefix == first.prefix and event.broker == first.broker for event in events):
        state.execution_ids.add(
            first.broker, first.prefix, joined([event.numbers for event in events])
        )
        return
    for event in events:
        state.execution_ids.add(event.broker, event.prefix, event.numbers)


def _trade_groups(
    state: FollowerState, groups: Sequence[OrderGroup], events: Sequence[ExecutionsApplied]
) -> None:
    """Apply trades of all orders of some groups, one side after the other."""
    for side in (1, -1):
        pairs = [pair for pair in zip(groups, events, strict=True) if pair[0].terms.side == side]
        if not pairs:
            continue
        for group, _ in pairs:
            state.changing(group.book)
        columns = (
            joined([event.quantities for _, event in pairs]),
            joined([event.prices for _, event in pairs]),
            joined([event.fees for _, event in pairs]),
        )
        apply_trades([Traded(group, group.span, slice(None)) for group, _ in pairs], *columns)


def _report_rows(state: FollowerState, event: ExecutionsApplied) -> None:
    for book, rows, which in state.by_book(event.subscriptions):
        columns = (
            event.exec_types[which],
            event.quantities[which],
            event.prices[which],
            event.fees[which],
        )
        state.changing(book)
        in_turn = has_repeats(rows)
        for group in state.orders.of_key(event.key):
            if group.book is book:
                _report(group, rows, *columns, in_turn=in_turn)


def _report(
    group: OrderGroup,
    rows: NDArray[np.int64],
    exec_types: Int64s,
    quantities: Int64s,
    prices: Int64s,
    fees: Int64s,
    *,
    in_turn: bool,
) -> None:
    """Apply reports to the orders of one group. Rows that are not in it are in the group of another
    part. `in_turn` says that some are about one order, whose end comes after its trades.
    """
    at, there = group.find(rows)
    if not any_of(there):
        return
    trades = rows_of(there & (exec_types == _TRADE))
    if in_turn and len(trades):
        trades = trades[np.argsort(at[trades], kind="stable")]
        columns = quantities[trades], prices[trades], fees[trades]
        apply_trades_in_turn(group, at[trades], *columns)
    elif len(trades):
        traded = Traded(group, group.rows[at[trades]], at[trades])
        apply_trades((traded,), quantities[trades], prices[trades], fees[trades])
    ended = there & is_any(exec_types, ENDS)
    if any_of(ended):
        end_orders(group, at[ended])
