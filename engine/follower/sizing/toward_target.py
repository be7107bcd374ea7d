"""Sizing toward a target as it stands: for follow-ups, further attempts of exits, and closing."""

import numpy as np
from numpy.typing import NDArray

from engine.columns.arithmetic import (
    entry_limit_price,
)
from engine.follower.book import Book
from engine.follower.sizing.batch import Batch
from engine.follower.sizing.decisions import Decisions, Pricing, held_of, skip
from engine.follower.sizing.exits import decide_exit
from engine.follower.sizing.limits import check_entry, market_of
from engine.follower.sizing.pieces import Piece
from engine.follower.slot import Slot
from engine.values.copy_policy import CopyPolicy
from engine.values.dispositions import Disposition


def size_toward_target(
    book: Book,
    slot: Slot,
    rows: NDArray[np.int64],
    policy: CopyPolicy,
    *,
    price: int,
    symbol: str,
    transact_time: int,
    event_time_ns: int,
    may_enter: bool,
) -> list[tuple[NDArray[np.int64], Decisions]]:
    """Move rows toward their targets as they stand: exit what they hold beyond them, else enter
    where that is allowed.

    Follow-ups, further attempts of exits and unfollowing all use it. Returns: the rows of each side
    and kind, with their decisions. A row with nothing to do is in none.
    """
    goal = slot.target[rows]
    held = slot.position[rows] + slot.open[rows]
    groups: list[tuple[NDArray[np.int64], Decisions]] = []
    for side in (1, -1):
        # A target beyond zero is reached in two steps: the first ends at flat.
        exits = rows[(side * held > 0) & (side * (held - goal) > 0)]
        if len(exits):
            groups.append((exits, _exit_toward_target(book, slot, side, exits)))
        entries = rows[(side * held >= 0) & (side * (goal - held) > 0)]
        if may_enter and len(entries):
            entered = _enter_toward_target(
                book,
                slot,
                side,
                entries,
                policy,
                price=price,
                symbol=symbol,
                transact_time=transact_time,
                event_time_ns=event_time_ns,
            )
            groups.append((entries, entered))
    return groups


def _exit_toward_target(book: Book, slot: Slot, side: int, rows: NDArray[np.int64]) -> Decisions:
    batch = Batch((Piece(book, slot, rows),), side)
    nothing = np.zeros(len(rows), np.uint8), np.zeros(len(rows), np.int64)
    out = Decisions(*nothing, np.maximum(batch.target, 0), -side, True, (0,))
    decide_exit(batch, out, to_flat=batch.target <= 0)
    out.target = slot.target[rows]
    return out


def _enter_toward_target(
    book: Book,
    slot: Slot,
    side: int,
    rows: NDArray[np.int64],
    policy: CopyPolicy,
    *,
    price: int,
    symbol: str,
    transact_time: int,
    event_time_ns: int,
) -> Decisions:
    batch = Batch((Piece(book, slot, rows),), side)
    nothing = np.zeros(len(rows), np.uint8), np.zeros(len(rows), np.int64)
    limit_price = entry_limit_price(price, side, policy.slippage_cap)
    out = Decisions(*nothing, batch.target.copy(), side, False, (limit_price,))
    if side < 0:
        skip(out.disposition, batch.column("allow_short") == 0, Disposition.SHORT_NOT_ALLOWED)
    pricing = Pricing(price, 0, book.marks, 0, transact_time)
    equity, beyond = batch.equity((pricing.marks,))
    skip(out.disposition, beyond, Disposition.OUT_OF_RANGE)
    held, is_poor = held_of(batch), equity <= 0
    skip(out.disposition, is_poor, Disposition.SUBSCRIPTION_EQUITY)
    np.copyto(out.target, np.minimum(held, out.target), where=is_poor)
    market = market_of(batch, out, (pricing,), (symbol,), policy, event_time_ns)
    check_entry(batch, out, market, held=held, equity=equity, policy=policy)
    out.target *= side
    return out
