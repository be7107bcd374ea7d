"""Decided signals, applied: they move targets, add open orders and reserve cash.

Signals of different books are applied in one pass over their rows, as they are decided
(`engine.follower.sizing.batch`).
"""

from collections.abc import Sequence

import numpy as np

from engine.columns.arithmetic import Int64s
from engine.columns.reductions import rows_of
from engine.follower.book import Book, joined
from engine.follower.order_group import OrderGroup, reservation, reserved_at
from engine.follower.rows import per_row, ranges
from engine.follower.sizing.pieces import Piece
from engine.follower.state import FollowerState
from engine.journal.events.orders import SignalDecided


def apply_signals(state: FollowerState, events: Sequence[SignalDecided]) -> None:
    """Apply decisions for different books."""
    pieces = [_piece(state, event) for event in events]
    counts = [len(event.dispositions) for event in events]
    units = per_row([event.unit for event in events], counts)
    quantity: Int64s = np.multiply(joined([event.units for event in events]), units)
    side = per_row([event.terms.side for event in events], counts)
    signed = quantity if isinstance(side, int) and side > 0 else quantity * side
    # A single book's columns are written in place, those of several are written back.
    values = joined([piece.slot.values[:3, piece.rows] for piece in pieces])
    target, position, open_ = values
    np.add(position, open_, out=target)
    target += joined([event.residuals for event in events])
    target += signed
    open_ += signed
    reserved = None
    if not all(event.terms.is_exit for event in events):
        reserving = [reserved_at(event.terms) for event in events]
        each, fee_rate = (per_row(column, counts) for column in zip(*reserving, strict=True))
        reserved = reservation(quantity, each, fee_rate)
    is_whole = int(np.count_nonzero(quantity)) == len(quantity)
    for event, piece, where in zip(events, pieces, ranges(counts), strict=True):
        if len(pieces) > 1:
            piece.slot.values[:3, piece.rows] = values[:, where]
        if reserved is not None and not event.terms.is_exit:
            piece.book.subscriptions["reserved"][piece.rows] += reserved[where]
        _add_orders(state, event, piece, quantity[where], is_whole=is_whole)


def _piece(state: FollowerState, event: SignalDecided) -> Piece:
    """Find the rows and the slot of a decision, and let the book learn what it says about the
    creator.
    """
    book: Book = state.book(event.creator_shard, event.creator)
    state.changing(book)
    slot = state.slot(book, event.instrument)
    book.learn_marks(event.mark_instruments.tolist(), event.mark_prices.tolist())
    slot.creator_position = event.creator_position
    return Piece(book, slot, slice(event.first_row, event.first_row + len(event.dispositions)))


def _add_orders(
    state: FollowerState, event: SignalDecided, piece: Piece, quantity: Int64s, *, is_whole: bool
) -> None:
    """Add the orders of a decision. Their cash is reserved and their quantities are counted as open
    already.
    """
    rows = (
        np.arange(event.first_row, event.first_row + len(quantity))
        if is_whole
        else rows_of(quantity)
    )
    if not len(rows):
        return
    if is_whole:
        # A view would keep the columns of all the other books too.
        quantity = quantity.copy()
    else:
        quantity, rows = quantity[rows], rows + event.first_row
    state.orders.add(
        OrderGroup.of_new_orders(event.key, piece.book, piece.slot, event.terms, rows, quantity)
    )
    if event.terms.is_exit:
        piece.slot.follow_ups.drop(rows)
