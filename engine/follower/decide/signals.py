"""Decisions about signals: what each subscription of a creator's book does about a leg of a fill.

The caller applies each event before it asks for the next (`for event in decide...:
shard.apply_event(event)`), so a later decision of the same frame sees the earlier ones. Signals of
different books are decided in one pass: none sees another, and their events are applied in one pass
too. Commands are decided in `engine.follower.decide.commands`.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from engine.columns.arithmetic import Int64s
from engine.columns.reductions import any_of, rows_of
from engine.follower.book import Book, SubscriptionStatus
from engine.follower.decide.follow_ups import cancel_open, queue_follow_up
from engine.follower.deciding import Deciding
from engine.follower.rows import per_row
from engine.follower.sizing.batch import Batch
from engine.follower.sizing.decisions import Decisions, Pricing, Signal
from engine.follower.sizing.exits import size_decrease, skip_suspended
from engine.follower.sizing.increases import size_increase
from engine.follower.sizing.legs import Leg, legs_of
from engine.follower.sizing.pieces import Piece
from engine.follower.state import FollowerState
from engine.journal.events.creator import FillApplied
from engine.journal.events.orders import SignalDecided
from engine.values.dispositions import Disposition
from engine.values.order_ids import CauseKind, OrderKey
from engine.values.order_terms import OrderTerms

_NETTED = int(Disposition.NETTED)
_SIGNAL = int(CauseKind.SIGNAL)


class SignalPart(NamedTuple):
    """Rows of a book that are to be decided for one leg of a fill."""

    book: Book
    fill: FillApplied
    leg: Leg
    first_row: int
    is_last_part: bool


def position_of(signal: int, leg: int) -> int:
    """Number a leg among all of a creator shard's, for the input cursor."""
    return signal << 1 | leg


def parts_of(
    state: FollowerState,
    creator_shard: int,
    fill: FillApplied,
    part_rows: int,
    *,
    position: int = 0,
    row: int = 0,
) -> Iterator[SignalPart]:
    """Split a fill's signals into parts. With a cursor's `position` and `row`, yield only what that
    cursor has not passed.
    """
    book = state.book_of.get((creator_shard, fill.creator))
    if book is None:
        return
    for leg in legs_of(fill):
        here = position_of(fill.signal, leg.leg)
        if here < position:
            continue
        first = row if here == position else 0
        for start in range(first, book.count, part_rows):
            yield SignalPart(book, fill, leg, start, start + part_rows >= book.count)


def decide_parts(deciding: Deciding, parts: Sequence[SignalPart], part_rows: int) -> list[Any]:
    """Decide one leg of a fill each for parts of different creators' books: dispositions, orders,
    cancels, follow-ups.

    Returns: the events of all parts in their order, none applied. No two parts are of one book, so
    no decision depends on another. What they have in common is asked in one pass
    (`engine.follower.sizing.batch`).
    """
    decided: dict[int, list[Any]] = {}
    for kind, chosen in _generate(deciding.state, parts, part_rows).items():
        batch = Batch(
            [each.piece for each in chosen], kind.side if kind.is_increase else -kind.side
        )
        decisions = _size_and_check(deciding, kind, chosen, batch)
        of_parts = [each.part for each in chosen]
        orders = _make_orders(deciding, of_parts, decisions)
        recorded = _record(deciding.state, of_parts, batch, decisions, orders)
        for each, events in zip(chosen, recorded, strict=True):
            decided[each.place] = events
    return [event for place in sorted(decided) for event in decided[place]]


class _Kind(NamedTuple):
    """The properties that signals must share to be sized in one pass."""

    is_increase: bool
    side: int
    is_skipped: bool


class _Chosen(NamedTuple):
    """A part that has rows to decide, its place among all parts, and these rows."""

    place: int
    part: SignalPart
    piece: Piece


def _generate(
    state: FollowerState, parts: Sequence[SignalPart], part_rows: int
) -> dict[_Kind, list[_Chosen]]:
    """Generate what is to be decided, by kind: the parts that have a subscription to decide for."""
    groups: dict[_Kind, list[_Chosen]] = {}
    for place, part in enumerate(parts):
        book, leg = part.book, part.leg
        rows = slice(part.first_row, min(part.first_row + part_rows, book.count))
        if not book.summary.is_active and not any_of(
            book.subscriptions["status"][rows] < SubscriptionStatus.ENDING
        ):
            continue
        is_skipped = len(state.suspended) > 0 and state.suspended.skips(
            book.creator_shard, book.creator, part.fill.signal, is_increase=leg.is_increase
        )
        piece = Piece(book, state.slot(book, part.fill.instrument), rows)
        kind = _Kind(leg.is_increase, leg.side, is_skipped)
        groups.setdefault(kind, []).append(_Chosen(place, part, piece))
    return groups


def _size_and_check(
    deciding: Deciding, kind: _Kind, chosen: Sequence[_Chosen], batch: Batch
) -> Decisions:
    """Size the rows by their modes, and check them against every rule and limit in order."""
    state, policy, now_ns = deciding
    if kind.is_skipped:
        return skip_suspended(batch, is_increase=kind.is_increase)
    if kind.is_increase:
        signals = [_signal(state, each.part, each.piece) for each in chosen]
        return size_increase(signals, batch, policy, now_ns)
    return size_decrease([each.part.leg for each in chosen], batch)


def _signal(state: FollowerState, part: SignalPart, piece: Piece) -> Signal:
    fill = part.fill
    marks = dict(zip(fill.mark_instruments.tolist(), fill.mark_prices.tolist(), strict=True))
    pricing = Pricing(fill.price, fill.equity, marks, fill.order_quantity, fill.transact_time)
    symbol = state.instruments[part.book.creator_shard, fill.instrument].symbol
    return Signal(piece, part.leg, pricing, symbol)


def _make_orders(
    deciding: Deciding, parts: Sequence[SignalPart], decisions: Decisions
) -> list[OrderTerms]:
    """Make the terms of each part's orders."""
    _, policy, now_ns = deciding
    is_exit = int(decisions.is_exit)
    expire_time = 0 if decisions.is_exit else now_ns + policy.entry_window_ns
    return [
        OrderTerms(
            decisions.side,
            part.fill.price,
            limit_price,
            expire_time,
            is_exit,
            policy.fee_rate,
            part.fill.transact_time,
        )
        for part, limit_price in zip(parts, decisions.limit_prices, strict=True)
    ]


def _record(
    state: FollowerState,
    parts: Sequence[SignalPart],
    batch: Batch,
    decisions: Decisions,
    terms: Sequence[OrderTerms],
) -> list[list[Any]]:
    """Record the decisions as events of each part. A netted row cancels what is open and waits."""
    events: list[list[Any]] = [
        [event] for event in _signals_decided(parts, batch, decisions, terms)
    ]
    netted = decisions.disposition == _NETTED
    if any_of(netted):
        for part, piece, where, of_part in zip(
            parts, batch.pieces, batch.ranges, events, strict=True
        ):
            rows = rows_of(netted[where]) + part.first_row
            if len(rows):
                book, fill = part.book, part.fill
                key = OrderKey(_SIGNAL, book.creator_shard, fill.signal, part.leg.leg, 1)
                of_part += cancel_open(state, book, piece.slot, rows)
                of_part.append(
                    queue_follow_up(
                        book,
                        piece.slot,
                        key,
                        rows,
                        price=fill.price,
                        transact_time=fill.transact_time,
                        due=0,
                    )
                )
    return events


def _signals_decided(
    parts: Sequence[SignalPart],
    batch: Batch,
    decisions: Decisions,
    terms: Sequence[OrderTerms],
) -> Iterator[SignalDecided]:
    quantity, side = decisions.quantity, decisions.side
    units = _units(batch, quantity)
    in_units = (
        quantity // per_row(units, batch.counts) if any(unit > 1 for unit in units) else quantity
    )
    held = batch.position + batch.open
    residuals = decisions.target - (held if batch.side > 0 else -held)
    residuals -= quantity if side > 0 else -quantity
    subscriptions = batch.column("subscription").astype(np.int64)
    dispositions = decisions.disposition.astype(np.int64)
    for part, piece, unit, of_part, where in zip(
        parts, batch.pieces, units, terms, batch.ranges, strict=True
    ):
        fill = part.fill
        yield SignalDecided(
            part.book.creator_shard,
            fill.signal,
            part.leg.leg,
            part.book.creator,
            piece.slot.instrument,
            of_part,
            part.first_row,
            int(part.is_last_part),
            unit,
            fill.mark_instruments,
            fill.mark_prices,
            subscriptions[where],
            dispositions[where],
            in_units[where],
            residuals[where],
            part.leg.signed_position_after,
        )


def _units(batch: Batch, quantity: Int64s) -> list[int]:
    """Return the unit that each piece's quantities are written in: a lot where all are whole lots,
    else 1.
    """
    rest = quantity % batch.lot
    if not any_of(rest):
        return [piece.slot.lot for piece in batch.pieces]
    in_lots = [not any_of(rest[where]) for where in batch.ranges]
    return [
        piece.slot.lot if whole else 1 for piece, whole in zip(batch.pieces, in_lots, strict=True)
    ]
