"""Sizing: what one signal means for a run of subscriptions, decided at once over columns (DESIGN section 7
in code).

Everything here reads the book and returns decisions; nothing is changed. Quantities are taken in the
direction of the leg, so long and short are one rule: T is the target, H what is held or on its way
(position plus open orders), both along the leg's side.

Order of the rules for an increase: equity, permission, then the limits in `LIMITS`' order; the first limit
that leaves less than a lot or the minimum names the skip. What rounding or the minimum alone withholds
stays in the target; what a limit cuts does not.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.arithmetic import (
    Int64s,
    entry_limit_price,
    floor_to,
    mul_div,
    mul_div_within,
    mul_mul_div,
)
from engine.book import Book, Mode, Slot, Status
from engine.disposition import Disposition
from engine.legs import Leg
from engine.masks import all_of, any_of, least, most, rows_of
from engine.units import MICROS, NS_PER_S, QUANTITY_MAX, QUANTITY_ONE

_AMPLE = 1 + 2**-30
_ROUNDED_UP = 8.0
"""An estimate in float64 with these added is above the exact amount, each rounding up to a micro included."""

Mask = NDArray[np.bool_]
Rows = slice | NDArray[np.int64]


class Terms(NamedTuple):
    """The engine's settings that decisions depend on. Each decision records what it used of them."""

    entry_window_ns: int = 60 * NS_PER_S
    slippage_cap: int = 5_000
    fee_rate: int = 0
    denied: frozenset[str] = frozenset()


class Pricing(NamedTuple):
    """What a signal says about the market and its creator; `marks` by instrument."""

    price: int
    creator_equity: int
    marks: dict[int, int]
    order_quantity: int
    transact_time: int


@dataclass(slots=True)
class Decisions:
    """Shapes: one row a subscription of the run. `quantity` unsigned, in the leg's direction; `target`
    signed, after the decision.
    """

    disposition: NDArray[np.uint8]
    quantity: Int64s
    target: Int64s
    side: int
    is_exit: bool
    limit_price: int


class _Run(NamedTuple):
    """One run of rows and its columns along a side."""

    book: Book
    rows: Rows
    side: int
    lot: int
    min_notional: int
    target: Int64s
    position: Int64s
    open: Int64s
    waiting: Mask | None

    def column(self, name: str) -> NDArray[np.integer]:
        return self.book.subscriptions[name][self.rows]


def _run(book: Book, slot: Slot, side: int, rows: Rows) -> _Run:
    """Name a run's columns along a side; they are read only, and may be the slot's own."""
    target, position, open_ = slot.values[:3, rows]
    if side < 0:
        target, position, open_ = -target, -position, -open_
    waiting = slot.follow_ups.waiting(rows.start, rows.stop) if isinstance(rows, slice) else None
    return _Run(book, rows, side, slot.lot, slot.min_notional, target, position, open_, waiting)


def size_increase(
    book: Book,
    slot: Slot,
    leg: Leg,
    pricing: Pricing,
    terms: Terms,
    rows: slice,
    *,
    symbol: str,
    event_time_ns: int,
) -> Decisions:
    """Size an increase of the creator's position for a run of rows."""
    run = _run(book, slot, leg.side, rows)
    disposition = _active(run)
    target = run.target.copy()
    quantity = np.zeros(len(target), np.int64)
    limit_price = entry_limit_price(pricing.price, leg.side, terms.slippage_cap)
    out = Decisions(disposition, quantity, target, leg.side, False, limit_price)
    if pricing.creator_equity <= 0:
        disposition[disposition == 0] = Disposition.CREATOR_EQUITY
        return _finish(run, out)
    equity, beyond = book.equity(rows, pricing.marks)
    if len(equity) and least(equity) <= 0:
        _skip(disposition, equity <= 0, Disposition.SUBSCRIPTION_EQUITY)
    _skip(disposition, beyond, Disposition.OUT_OF_RANGE)
    if leg.side < 0 and not book.traits.may_short:
        _skip(disposition, run.column("allow_short") == 0, Disposition.SHORT_NOT_ALLOWED)
    added, beyond = _added(run, leg, pricing, equity)
    raised = target + added
    _skip(disposition, beyond, Disposition.OUT_OF_RANGE)
    if len(raised) and most(raised) > QUANTITY_MAX:
        _skip(disposition, raised > QUANTITY_MAX, Disposition.OUT_OF_RANGE)
    if any_of(disposition):
        np.copyto(target, raised, where=disposition == 0)
    else:
        out.target = target = raised
    held = _held(run)
    if run.waiting is not None or any_of(run.open):
        _net(run, disposition, target - held >= run.lot)
    check_entry(
        run, out, held=held, equity=equity, price=pricing.price, terms=terms, symbol=symbol,
        is_stale=event_time_ns - pricing.transact_time > terms.entry_window_ns,
    )  # fmt: skip
    return _finish(run, out)


def _active(run: _Run) -> NDArray[np.uint8]:
    """Mark with 0 the rows still to be decided, with 255 those that are not active."""
    if run.book.traits.is_active:
        return np.zeros(len(run.target), np.uint8)
    status = run.column("status")
    undecided: NDArray[np.uint8] = np.where(status >= Status.ENDING, np.uint8(255), np.uint8(0))
    return undecided


def _skip(disposition: NDArray[np.uint8], where: Mask | None, reason: Disposition) -> None:
    if where is not None and any_of(where):
        disposition[where & (disposition == 0)] = reason


def _held(run: _Run) -> Int64s:
    """Name what counts toward the target: an exit still under way on the other side is not an obstacle to
    opening this one.
    """
    held: Int64s = run.position + run.open
    return np.maximum(held, 0, out=held)


def _added(run: _Run, leg: Leg, pricing: Pricing, equity: Int64s) -> tuple[Int64s, Mask | None]:
    sole = run.book.traits.mode
    if sole >= 0:
        return _added_in_mode(sole, run, leg, pricing, equity, slice(None))
    mode = run.column("mode")
    added = np.zeros(len(mode), np.int64)
    beyond = np.zeros(len(mode), np.bool_)
    for each in Mode:
        rows = rows_of(mode == each)
        if len(rows):
            added[rows], too_large = _added_in_mode(each, run, leg, pricing, equity, rows)
            if too_large is not None:
                beyond[rows] = too_large
    return added, beyond


def _added_in_mode(
    mode: int, run: _Run, leg: Leg, pricing: Pricing, equity: Int64s, rows: NDArray[np.int64] | slice
) -> tuple[Int64s, Mask | None]:
    ratio = np.asarray(run.column("ratio")[rows], np.int64)
    if mode == Mode.PROPORTIONAL:
        positive = np.maximum(equity[rows], 0)
        return mul_mul_div(leg.quantity, positive, ratio, pricing.creator_equity, QUANTITY_MAX)
    if mode == Mode.MULTIPLIER:
        return mul_div_within(ratio, leg.quantity, MICROS, QUANTITY_MAX)
    amount = np.asarray(run.column("amount")[rows], np.int64)
    if not pricing.order_quantity:
        return mul_div_within(amount, QUANTITY_ONE, pricing.price, QUANTITY_MAX)
    # amount * 1e8 * leg / (price * order quantity) has no 64-bit form: few distinct amounts, so one exact division each.
    distinct, which = np.unique(amount, return_inverse=True)
    over = pricing.price * pricing.order_quantity
    shares = [value * QUANTITY_ONE * leg.quantity // over for value in distinct.tolist()]
    beyond = np.array([share > QUANTITY_MAX for share in shares])
    sized = np.array([0 if share > QUANTITY_MAX else share for share in shares], np.int64)
    return sized[which], beyond[which]


def _net(run: _Run, disposition: NDArray[np.uint8], wants: Mask) -> None:
    """Decide NETTED where an open order of the other side must be cancelled first, or a cause already waits
    for that.
    """
    against = (run.open < 0) & wants
    if run.waiting is not None:
        against |= run.waiting
    _skip(disposition, against, Disposition.NETTED)


def check_entry(
    run: _Run,
    out: Decisions,
    *,
    held: Int64s,
    equity: Int64s,
    price: int,
    terms: Terms,
    symbol: str,
    is_stale: bool,
) -> None:
    """Check the undecided rows' entries against every limit in order, and lower their targets to what is
    reachable.
    """
    disposition, lot = out.disposition, run.lot
    were_undecided = None if not any_of(disposition) else disposition == 0
    _check_permission(run, out, held, terms, symbol, is_stale)
    whole = out.target - held
    whole = floor_to(np.maximum(whole, 0, out=whole), lot)
    # A notional is below the minimum just when the quantity is below this one, which has no product to overflow.
    minimum = max(lot, -(-run.min_notional * QUANTITY_ONE // price))
    if len(whole) and least(whole) < minimum:
        _skip(disposition, whole < lot, Disposition.BELOW_LOT)
        _skip(disposition, whole < minimum, Disposition.BELOW_MIN_NOTIONAL)
    left = _within_limits(run, out, held, equity, whole, minimum, price, terms)
    if were_undecided is None and not any_of(disposition):
        disposition.fill(Disposition.ORDERED)
        out.quantity = left
        if left is not whole:
            np.copyto(out.target, held + left, where=left < whole)
        return
    ordered = disposition == 0
    if were_undecided is not None:
        ordered &= were_undecided
    disposition[ordered] = Disposition.ORDERED
    np.copyto(out.quantity, left, where=ordered)
    if left is not whole:
        np.copyto(out.target, held + left, where=ordered & (left < whole))


def _check_permission(
    run: _Run, out: Decisions, held: Int64s, terms: Terms, symbol: str, is_stale: bool
) -> None:
    """Skip the undecided rows that may not enter at all, their targets lowered to what is held."""
    if run.book.traits.is_active and symbol not in terms.denied and not is_stale:
        return
    disposition = out.disposition
    reachable = np.minimum(held, out.target)
    for blocked, reason in (
        (run.column("status") == Status.PAUSED, Disposition.PAUSED),
        (symbol in terms.denied, Disposition.INSTRUMENT_DENIED),
        (is_stale, Disposition.ENTRY_WINDOW),
    ):
        if np.any(blocked):
            hit = blocked & (disposition == 0)
            disposition[hit] = reason
            np.copyto(out.target, reachable, where=hit)


def _within_limits(
    run: _Run, out: Decisions, held: Int64s, equity: Int64s, whole: Int64s, minimum: int, price: int, terms: Terms
) -> Int64s:  # fmt: skip
    """Cut whole lots to what every limit leaves, and skip the undecided rows that one leaves less than the minimum. Returns: `whole`
    itself when no limit cuts anything.
    """
    disposition, lot, left = out.disposition, run.lot, whole
    for reason, quantity_max in _limits(run, out, held, equity, price, terms, whole):
        cut = np.minimum(left, quantity_max)
        if lot > 1:
            cut = floor_to(cut, lot)
        left = np.maximum(cut, 0, out=cut)
        hit = (left < minimum) & (disposition == 0)
        if any_of(hit):
            disposition[hit] = reason
            np.copyto(out.target, np.minimum(held, out.target), where=hit)
    return left


def _limits(
    run: _Run, out: Decisions, held: Int64s, equity: Int64s, price: int, terms: Terms, whole: Int64s
) -> list[tuple[Disposition, Int64s]]:
    """Say the largest quantity that each limit leaves, in their order; limits that no row has, or that cut nothing, are left out."""
    limits: list[tuple[Disposition, Int64s]] = []
    traits = run.book.traits
    if traits.has_max_order_notional:
        most_notional = np.asarray(run.column("max_order_notional"), np.int64)
        quantity_max = _within(most_notional, QUANTITY_ONE, price)
        limits.append(
            (Disposition.MAX_ORDER_NOTIONAL, np.where(most_notional > 0, quantity_max, QUANTITY_MAX))
        )
    if traits.has_max_weight:
        weight = np.asarray(run.column("max_weight"), np.int64)
        allowed = _within(
            mul_div_within(np.maximum(equity, 0), weight, MICROS, 1 << 60)[0], QUANTITY_ONE, price
        )
        limits.append((Disposition.MAX_POSITION_WEIGHT, np.where(weight > 0, allowed - held, QUANTITY_MAX)))
    affordable = _affordable(run, out, price, terms, whole)
    if affordable is not None:
        limits.append((Disposition.AVAILABLE_CASH, affordable))
    return limits


def _within(a: Int64s, b: int, c: int) -> Int64s:
    """Compute floor(a * b / c), at most QUANTITY_MAX."""
    quotient, beyond = mul_div_within(a, b, c, QUANTITY_MAX)
    if beyond is not None:
        quotient[beyond] = QUANTITY_MAX
    return quotient


def _affordable(run: _Run, out: Decisions, price: int, terms: Terms, whole: Int64s) -> Int64s | None:
    """Say how much the available cash pays for: at the limit price with the fee; a short needs its notional at the signal's price.

    Returns: None where it pays for all of `whole` by far, which spares the exact division.
    """
    available = run.book.available_cash(run.rows)
    each, fee_rate = (price, 0) if run.side < 0 else (out.limit_price, terms.fee_rate)
    wanted = whole.astype(np.float64)
    wanted *= _AMPLE * each * (MICROS + fee_rate) / (MICROS * QUANTITY_ONE)
    wanted += _ROUNDED_UP
    if all_of(wanted < available):
        return None
    np.maximum(available, 0, out=available)
    # Exact although notional and fee each round up: a whole n of micros and its fee are covered just when n * (1 + fee) is.
    covered = available if fee_rate == 0 else mul_div(available, MICROS, MICROS + fee_rate)
    return _within(covered, QUANTITY_ONE, each)


def size_decrease(book: Book, slot: Slot, leg: Leg, rows: slice) -> Decisions:
    """Size a decrease of the creator's position: the same fraction of each target, whatever its equity;
    flat is flat.
    """
    run = _run(book, slot, -leg.side, rows)
    disposition = _active(run)
    kept = np.zeros_like(run.target)
    if leg.position_after:
        kept = run.target - mul_div(np.maximum(run.target, 0), leg.quantity, leg.position_before)
    target = kept if not any_of(disposition) else np.where(disposition == 0, kept, run.target)
    out = Decisions(disposition, np.zeros(len(target), np.int64), target, leg.side, True, 0)
    decide_exit(run, out, to_flat=leg.position_after == 0)
    return _finish(run, out)


def skip_suspended(book: Book, slot: Slot, leg: Leg, rows: slice) -> Decisions:
    """Skip a leg for every active row, whatever it is: the creator is suspended, or the signal parked. Targets stay."""
    active = book.subscriptions["status"][rows] < Status.ENDING
    disposition = np.where(active, np.uint8(Disposition.CREATOR_SUSPENDED), np.uint8(Disposition.INACTIVE))
    quantity = np.zeros(len(active), np.int64)
    is_exit = not leg.is_increase
    return Decisions(disposition, quantity, slot.target[rows].copy(), leg.side, is_exit, 0)


def decide_exit(run: _Run, out: Decisions, *, to_flat: bool | Mask) -> None:
    """Order what the undecided rows hold beyond their targets; nothing is opened or added. `run.side` is
    the position's: what is still held of the other side is an exit of an earlier cause, which is tried again for that one.
    """
    disposition, held = out.disposition, _held(run)
    excess = held - out.target
    np.maximum(excess, 0, out=excess)
    # An exit to flat sells all of it, a rest below the lot too.
    if to_flat is True:
        quantity = excess
    elif to_flat is False:
        quantity = floor_to(excess, run.lot)
    else:
        quantity = np.where(to_flat, excess, floor_to(excess, run.lot))
    quantity = np.minimum(quantity, held)
    if run.waiting is not None or any_of(run.open):
        against = (run.open > 0) & (quantity > 0)
        if run.waiting is not None:
            against |= run.waiting
        _skip(disposition, against, Disposition.NETTED)
    if not all_of(quantity != 0):
        _skip(disposition, (run.position <= 0) & (held == 0), Disposition.NO_POSITION)
        _skip(disposition, quantity == 0, Disposition.BELOW_LOT)
    if not any_of(disposition):
        disposition.fill(Disposition.ORDERED)
        out.quantity = quantity
        return
    ordered = disposition == 0
    disposition[ordered] = Disposition.ORDERED
    np.copyto(out.quantity, quantity, where=ordered)


def _finish(run: _Run, out: Decisions) -> Decisions:
    if not run.book.traits.is_active:
        out.disposition[out.disposition == 255] = Disposition.INACTIVE
    if run.side < 0:
        out.target = -out.target
    return out


def size_toward_target(
    book: Book, slot: Slot, rows: NDArray[np.int64], terms: Terms, *, price: int, symbol: str, transact_time: int,
    event_time_ns: int, may_enter: bool,
) -> list[tuple[NDArray[np.int64], Decisions]]:  # fmt: skip
    """Move rows toward their targets as they stand: exits of what they hold beyond them, else, where
    allowed, entries.

    What follow-ups, further attempts of exits and unfollowing share. Returns: the rows of each side and
    kind, with their decisions; a row with nothing to do is in none.
    """
    goal = slot.target[rows]
    held = slot.position[rows] + slot.open[rows]
    stale = event_time_ns - transact_time > terms.entry_window_ns
    groups: list[tuple[NDArray[np.int64], Decisions]] = []
    for side in (1, -1):
        # A target beyond zero is reached in two steps: the first ends at flat.
        exits = rows[(side * held > 0) & (side * (held - goal) > 0)]
        if len(exits):
            groups.append((exits, _exit_toward_target(book, slot, side, exits)))
        entries = rows[(side * held >= 0) & (side * (goal - held) > 0)]
        if may_enter and len(entries):
            groups.append(
                (entries, _enter_toward_target(book, slot, side, entries, terms, price, symbol, stale))
            )
    return groups


def _exit_toward_target(book: Book, slot: Slot, side: int, rows: NDArray[np.int64]) -> Decisions:
    run = _run(book, slot, side, rows)
    out = Decisions(
        np.zeros(len(rows), np.uint8),
        np.zeros(len(rows), np.int64),
        np.maximum(run.target, 0),
        -side,
        True,
        0,
    )
    decide_exit(run, out, to_flat=run.target <= 0)
    out.target = slot.target[rows]
    return out


def _enter_toward_target(
    book: Book,
    slot: Slot,
    side: int,
    rows: NDArray[np.int64],
    terms: Terms,
    price: int,
    symbol: str,
    stale: bool,
) -> Decisions:
    run = _run(book, slot, side, rows)
    limit_price = entry_limit_price(price, side, terms.slippage_cap)
    out = Decisions(
        np.zeros(len(rows), np.uint8),
        np.zeros(len(rows), np.int64),
        run.target.copy(),
        side,
        False,
        limit_price,
    )
    if side < 0:
        _skip(out.disposition, run.column("allow_short") == 0, Disposition.SHORT_NOT_ALLOWED)
    equity, beyond = book.equity(rows, book.marks)
    _skip(out.disposition, beyond, Disposition.OUT_OF_RANGE)
    check_entry(
        run, out, held=_held(run), equity=equity, price=price, terms=terms, symbol=symbol, is_stale=stale
    )
    out.target *= side
    return out
