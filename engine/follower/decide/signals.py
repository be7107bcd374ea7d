"""What a follower shard does about a signal, a report, a passed time: reads the state, yields
events.

The caller applies each event before asking for the next (`for event in decide...:
shard.apply_event(event)`), so a later decision of the same frame sees the earlier ones. Signals of
different books are decided batched: none sees another, and their events are applied batched too.
Commands are decided in `engine.follower.decide.commands`.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from engine.columns.arithmetic import Int64s
from engine.columns.reductions import any_of, rows_of
from engine.follower.book import Book, Status
from engine.follower.decide.follow_ups import cancel_open, queued
from engine.follower.sizing.batch import Batch
from engine.follower.sizing.decisions import Decisions, Pricing, Signal
from engine.follower.sizing.exits import size_decrease, skip_suspended
from engine.follower.sizing.increases import size_increase
from engine.follower.sizing.legs import Leg, legs_of
from engine.follower.sizing.pieces import Piece, per_row
from engine.follower.state import FollowerState
from engine.journal.events.creator import (
    FillApplied,
)
from engine.journal.events.orders import SignalDecided
from engine.values.copy_policy import CopyPolicy
from engine.values.dispositions import Disposition
from engine.values.order_ids import CauseKind, OrderKey

_NETTED = int(Disposition.NETTED)
_SIGNAL = int(CauseKind.SIGNAL)


class SignalPart(NamedTuple):
    """A batch of a book's rows to be decided for one leg of a fill."""

    book: Book
    fill: FillApplied
    leg: Leg
    first_row: int
    is_last_part: bool


def position_of(signal: int, leg: int) -> int:
    """Number a leg among all of a creator shard's, for the input cursor."""
    return signal << 1 | leg


def parts_of(
    shard: FollowerState,
    creator_shard: int,
    fill: FillApplied,
    part_rows: int,
    *,
    position: int = 0,
    row: int = 0,
) -> Iterator[SignalPart]:
    """Split a fill's signals into parts; with a cursor's `position` and `row`, only what that
    cursor has not passed.
    """
    book = shard.book_of.get((creator_shard, fill.creator))
    if book is None:
        return
    for leg in legs_of(fill):
        here = position_of(fill.signal, leg.leg)
        if here < position:
            continue
        first = row if here == position else 0
        for start in range(first, book.count, part_rows):
            yield SignalPart(book, fill, leg, start, start + part_rows >= book.count)


def decide_parts(
    shard: FollowerState,
    parts: Sequence[SignalPart],
    terms: CopyPolicy,
    part_rows: int,
    event_time_ns: int,
) -> list[Any]:
    """Decide one leg of a fill each for parts of different creators' books: dispositions, orders,
    cancels, follow-ups.

    Returns: the events of all parts in their order, none applied. No part's decision depends on
    another's, for no two are of one book; what they have in common is asked in one pass
    (`engine.follower.sizing.batch`).
    """
    decided: dict[int, list[Any]] = {}
    for kind, group in _by_kind(shard, parts, part_rows).items():
        batch = Batch([each.piece for each in group], kind.side if kind.is_increase else -kind.side)
        decisions = _sized(shard, kind, group, batch, terms, event_time_ns)
        events = _events(
            shard, [each.part for each in group], batch, decisions, terms, event_time_ns
        )
        for each, of_part in zip(group, events, strict=True):
            decided[each.place] = of_part
    return [event for place in sorted(decided) for event in decided[place]]


class _Kind(NamedTuple):
    """What signals must have in common to be sized in one pass."""

    is_increase: bool
    side: int
    is_skipped: bool


class _Chosen(NamedTuple):
    """A part that has rows to decide, where it stands among all, and these rows."""

    place: int
    part: SignalPart
    piece: Piece


def _by_kind(
    shard: FollowerState, parts: Sequence[SignalPart], part_rows: int
) -> dict[_Kind, list[_Chosen]]:
    groups: dict[_Kind, list[_Chosen]] = {}
    for index, part in enumerate(parts):
        book, leg = part.book, part.leg
        rows = slice(part.first_row, min(part.first_row + part_rows, book.count))
        if not book.summary.is_active and not any_of(
            book.subscriptions["status"][rows] < Status.ENDING
        ):
            continue
        is_skipped = len(shard.suspended) > 0 and shard.suspended.skips(
            book.creator_shard, book.creator, part.fill.signal, is_increase=leg.is_increase
        )
        piece = Piece(book, shard.slot(book, part.fill.instrument), rows)
        kind = _Kind(leg.is_increase, leg.side, is_skipped)
        groups.setdefault(kind, []).append(_Chosen(index, part, piece))
    return groups


def _sized(
    shard: FollowerState,
    kind: _Kind,
    group: Sequence[_Chosen],
    batch: Batch,
    terms: CopyPolicy,
    event_time_ns: int,
) -> Decisions:
    if kind.is_skipped:
        return skip_suspended(batch, is_increase=kind.is_increase)
    if kind.is_increase:
        signals = [_signal(shard, each.part, each.piece) for each in group]
        return size_increase(signals, batch, terms, event_time_ns)
    return size_decrease([each.part.leg for each in group], batch)


def _signal(shard: FollowerState, part: SignalPart, piece: Piece) -> Signal:
    fill = part.fill
    marks = dict(zip(fill.mark_instruments.tolist(), fill.mark_prices.tolist(), strict=True))
    pricing = Pricing(fill.price, fill.equity, marks, fill.order_quantity, fill.transact_time)
    symbol = shard.instruments[part.book.creator_shard, fill.instrument].symbol
    return Signal(piece, part.leg, pricing, symbol)


def _events(
    shard: FollowerState,
    parts: Sequence[SignalPart],
    batch: Batch,
    decisions: Decisions,
    terms: CopyPolicy,
    event_time_ns: int,
) -> list[list[Any]]:
    """Make the events of each part of a batch."""
    events: list[list[Any]] = [
        [event] for event in _signals_decided(parts, batch, decisions, terms, event_time_ns)
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
                of_part += cancel_open(shard, book, piece.slot, rows)
                of_part.append(
                    queued(
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
    terms: CopyPolicy,
    event_time_ns: int,
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
    expire_time = 0 if decisions.is_exit else event_time_ns + terms.entry_window_ns
    for part, piece, unit, limit_price, where in zip(
        parts, batch.pieces, units, decisions.limit_prices, batch.ranges, strict=True
    ):
        fill = part.fill
        yield SignalDecided(
            part.book.creator_shard,
            fill.signal,
            part.leg.leg,
            part.book.creator,
            piece.slot.instrument,
            side,
            fill.price,
            limit_price,
            expire_time,
            int(decisions.is_exit),
            terms.fee_rate,
            fill.transact_time,
            part.first_row,
            int(part.is_last_part),
            unit,
            fill.mark_instruments,
            fill.mark_prices,
            subscriptions[where],
            dispositions[where],
            in_units[where],
            residuals[where],
        )


def _units(batch: Batch, quantity: Int64s) -> list[int]:
    """Say in what each piece's quantities are written: in lots, where all are whole ones."""
    rest = quantity % batch.lot
    if not any_of(rest):
        return [piece.slot.lot for piece in batch.pieces]
    in_lots = [not any_of(rest[where]) for where in batch.ranges]
    return [
        piece.slot.lot if whole else 1 for piece, whole in zip(batch.pieces, in_lots, strict=True)
    ]
