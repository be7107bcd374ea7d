"""What decided signals do to a follower shard: targets, open orders and what these reserve.

Signals of different books are applied in one pass over their rows, as they are decided
(`engine.follower.sizing.batch`).
"""

from collections.abc import Sequence

import numpy as np

from engine.columns.arithmetic import Int64s
from engine.columns.reductions import rows_of
from engine.follower.book import Book, joined
from engine.follower.order_group import OrderGroup, reservation, reserved_at
from engine.follower.sizing.pieces import Piece, per_row, ranges
from engine.follower.state import FollowerState
from engine.journal.events.orders import SignalDecided
from engine.values.order_ids import CauseKind, OrderKey

_SIGNAL = int(CauseKind.SIGNAL)


def apply_signals(shard: FollowerState, events: Sequence[SignalDecided]) -> None:
    """Apply decisions for different books."""
    pieces = [_piece(shard, event) for event in events]
    counts = [len(event.dispositions) for event in events]
    units = per_row([event.unit for event in events], counts)
    quantity: Int64s = np.multiply(joined([event.units for event in events]), units)
    side = per_row([event.side for event in events], counts)
    signed = quantity if isinstance(side, int) and side > 0 else quantity * side
    # A single book's columns are written in place, those of several are written back.
    values = joined([piece.slot.values[:3, piece.rows] for piece in pieces])
    target, position, open_ = values
    np.add(position, open_, out=target)
    target += joined([event.residuals for event in events])
    target += signed
    open_ += signed
    reserved = None
    if not all(event.is_exit for event in events):
        terms = [reserved_at(event) for event in events]
        each, fee_rate = (per_row(column, counts) for column in zip(*terms, strict=True))
        reserved = reservation(quantity, each, fee_rate)
    is_whole = int(np.count_nonzero(quantity)) == len(quantity)
    for event, piece, where in zip(events, pieces, ranges(counts), strict=True):
        if len(pieces) > 1:
            piece.slot.values[:3, piece.rows] = values[:, where]
        if reserved is not None and not event.is_exit:
            piece.book.subscriptions["reserved"][piece.rows] += reserved[where]
        _enter(shard, event, piece, quantity[where], is_whole=is_whole)


def _piece(shard: FollowerState, event: SignalDecided) -> Piece:
    """Find the rows and the slot of a decision, and take over its marks."""
    book: Book = shard.book(event.creator_shard, event.creator)
    shard.changing(book)
    slot = shard.slot(book, event.instrument)
    slots = book.slot_of
    for instrument, mark in zip(
        event.mark_instruments.tolist(), event.mark_prices.tolist(), strict=True
    ):
        if instrument in slots:
            slots[instrument].mark = mark
    return Piece(book, slot, slice(event.first_row, event.first_row + len(event.dispositions)))


def _enter(
    shard: FollowerState, event: SignalDecided, piece: Piece, quantity: Int64s, *, is_whole: bool
) -> None:
    """Enter the orders of a decision, whose cash is reserved and whose quantities are counted as
    open.
    """
    rows = (
        np.arange(event.first_row, event.first_row + len(quantity))
        if is_whole
        else rows_of(quantity)
    )
    if not len(rows):
        return
    if is_whole:
        # What is kept shall not keep the other books' columns.
        quantity = quantity.copy()
    else:
        quantity, rows = quantity[rows], rows + event.first_row
    key = OrderKey(_SIGNAL, event.creator_shard, event.signal, event.leg, 0)
    shard.orders.enter(OrderGroup.placed(key, piece.book, piece.slot, event, rows, quantity))
    if event.is_exit:
        piece.slot.follow_ups.drop(rows)
