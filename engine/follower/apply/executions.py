"""What executions do to a follower shard: whole blocks of different books that traded are applied
in one pass over their rows, as signals are decided (`engine.follower.sizing.batch`), everything
else order by order.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.columns.arithmetic import Int64s
from engine.columns.reductions import all_of, any_of
from engine.follower.book import joined
from engine.follower.order_group import ENDS, OrderGroup, Traded, end, is_any, trade
from engine.follower.sizing.batch import batched
from engine.follower.state import FollowerState
from engine.journal.events.orders import ExecutionsApplied
from engine.values.order_ids import OrderKey, key_of
from engine.values.order_status import ExecType

_TRADE = int(ExecType.TRADE)


def apply_executions(shard: FollowerState, events: Sequence[ExecutionsApplied]) -> None:
    """Apply executions in their order."""
    items = ((_book_of(shard, event), len(event.subscriptions), event) for event in events)
    for span in batched(items) if len(events) > 1 else (events,):
        _note_numbers(shard, span)
        keys = [key_of(event) for event in span]
        blocks = shard.orders.holding_all(keys, [event.subscriptions for event in span])
        if blocks is not None and all_of(joined([event.exec_types for event in span]) == _TRADE):
            _trade_blocks(shard, blocks, span)
            for key, event in zip(keys, span, strict=True):
                _forget_closed(shard, key, event)
        else:
            for key, event in zip(keys, span, strict=True):
                _report_rows(shard, key, event)
                _forget_closed(shard, key, event)


def _forget_closed(shard: FollowerState, key: OrderKey, event: ExecutionsApplied) -> None:
    shard.orders.note_unnumbered(key, event)
    shard.orders.drop_closed(key)


def _book_of(shard: FollowerState, event: ExecutionsApplied) -> Any:
    """Name the book that an event is about; one about several, or about orders that are not open,
    goes by itself.
    """
    blocks = shard.orders.blocks(key_of(event))
    return blocks[0].book if len(blocks) == 1 else event


def _note_numbers(shard: FollowerState, events: Sequence[ExecutionsApplied]) -> None:
    first = events[0]
    if all(event.prefix == first.prefix and event.broker == first.broker for event in events):
        shard.execution_ids.add(
            first.broker, first.prefix, joined([event.numbers for event in events])
        )
        return
    for event in events:
        shard.execution_ids.add(event.broker, event.prefix, event.numbers)


def _trade_blocks(
    shard: FollowerState, blocks: Sequence[OrderGroup], events: Sequence[ExecutionsApplied]
) -> None:
    """Apply trades of all orders of some blocks, side by side."""
    for side in (1, -1):
        pairs = [pair for pair in zip(blocks, events, strict=True) if pair[0].side == side]
        if not pairs:
            continue
        for block, _ in pairs:
            shard.changing(block.book)
        columns = (
            joined([event.quantities for _, event in pairs]),
            joined([event.prices for _, event in pairs]),
            joined([event.fees for _, event in pairs]),
        )
        trade([Traded(block, block.span, slice(None)) for block, _ in pairs], *columns)


def _report_rows(shard: FollowerState, key: OrderKey, event: ExecutionsApplied) -> None:
    for book, rows, which in shard.by_book(event.subscriptions):
        columns = (
            event.exec_types[which],
            event.quantities[which],
            event.prices[which],
            event.fees[which],
        )
        shard.changing(book)
        for block in shard.orders.blocks(key):
            if block.book is book:
                _report(block, rows, *columns)


def _report(
    block: OrderGroup,
    rows: NDArray[np.int64],
    exec_types: Int64s,
    quantities: Int64s,
    prices: Int64s,
    fees: Int64s,
) -> None:
    """Apply reports to the orders of one block; rows that are not in it belong to another
    part's.
    """
    at, there = block.find(rows)
    if not any_of(there):
        return
    trades = there & (exec_types == _TRADE)
    if any_of(trades):
        traded = Traded(block, block.rows[at[trades]], at[trades])
        trade((traded,), quantities[trades], prices[trades], fees[trades])
    ended = there & is_any(exec_types, ENDS)
    if any_of(ended):
        end(block, at[ended])
