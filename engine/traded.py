"""What executions do to a follower shard: whole blocks of different books that traded are applied in one pass over their rows, as signals
are decided (`engine.runs`), everything else order by order.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.arithmetic import Int64s
from engine.book import joined
from engine.events.orders import ExecutionsApplied
from engine.identity import OrderKey, key_of
from engine.masks import all_of, any_of
from engine.order_state import ExecType
from engine.orders import ENDS, OrderBlock, Traded, end, is_any, trade
from engine.runs import together

if TYPE_CHECKING:
    from engine.follower import FollowerShard

_TRADE = int(ExecType.TRADE)


def apply_executions(shard: "FollowerShard", events: Sequence[ExecutionsApplied]) -> None:
    """Apply executions in their order."""
    items = ((_book_of(shard, event), len(event.subscriptions), event) for event in events)
    for run in together(items) if len(events) > 1 else (events,):
        _note_numbers(shard, run)
        keys = [key_of(event) for event in run]
        blocks = shard.orders.holding_all(keys, [event.subscriptions for event in run])
        if blocks is not None and all_of(joined([event.exec_types for event in run]) == _TRADE):
            _trade_blocks(shard, blocks, run)
            for key, event in zip(keys, run, strict=True):
                _forget_closed(shard, key, event)
        else:
            for key, event in zip(keys, run, strict=True):
                _report_rows(shard, key, event)
                _forget_closed(shard, key, event)


def _forget_closed(shard: "FollowerShard", key: OrderKey, event: ExecutionsApplied) -> None:
    shard.orders.note_unnumbered(key, event)
    shard.orders.drop_closed(key)


def _book_of(shard: "FollowerShard", event: ExecutionsApplied) -> Any:
    """Name the book that an event is about; one about several, or about orders that are not open, goes by itself."""
    blocks = shard.orders.blocks(key_of(event))
    return blocks[0].book if len(blocks) == 1 else event


def _note_numbers(shard: "FollowerShard", events: Sequence[ExecutionsApplied]) -> None:
    first = events[0]
    if all(event.prefix == first.prefix and event.broker == first.broker for event in events):
        shard.execution_ids.add(first.broker, first.prefix, joined([event.numbers for event in events]))
        return
    for event in events:
        shard.execution_ids.add(event.broker, event.prefix, event.numbers)


def _trade_blocks(
    shard: "FollowerShard", blocks: Sequence[OrderBlock], events: Sequence[ExecutionsApplied]
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
        trade([Traded(block, block.run, slice(None)) for block, _ in pairs], *columns)


def _report_rows(shard: "FollowerShard", key: OrderKey, event: ExecutionsApplied) -> None:
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
    block: OrderBlock,
    rows: NDArray[np.int64],
    exec_types: Int64s,
    quantities: Int64s,
    prices: Int64s,
    fees: Int64s,
) -> None:
    """Apply reports to the orders of one block; rows that are not in it belong to another part's."""
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
