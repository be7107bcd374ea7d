"""Sizing: what one signal means for a run of subscriptions, decided at once over columns (DESIGN section 7
in code).

Everything here reads the book and returns decisions; nothing is changed. Quantities are taken in the
direction of the leg, so long and short are one rule: T is the target, H what is held or on its way
(position plus open orders), both along the leg's side.

Order of the rules for an increase: equity, permission, netting, then the other limits in their order; the first
limit that leaves less than a lot or the minimum names the skip. What rounding or the minimum alone withholds
stays in the target; what a limit cuts does not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.arithmetic import (
    Int64s,
    Operand,
    entry_limit_price,
    floor_to,
    mul_div,
    mul_div_within,
    mul_mul_div,
)
from engine.book import Book, Mask, Mode, Rows, Slot, Status
from engine.disposition import Disposition
from engine.legs import Leg
from engine.masks import all_of, any_of, least, most, rows_of
from engine.runs import Piece, Run, spread, spread_mask
from engine.units import MICROS, NS_PER_S, QUANTITY_MAX, QUANTITY_ONE

_ORDERED = int(Disposition.ORDERED)
_PROPORTIONAL, _MULTIPLIER = int(Mode.PROPORTIONAL), int(Mode.MULTIPLIER)
_WORTH_MAX = 1 << 60
"""More than any position can be worth, micros: a weight that allows as much is no limit."""
_AMPLE = 1 + 2**-30
_ROUNDED_UP = 8.0
"""An estimate in float64 with these added is above the exact amount, each rounding up to a micro included."""


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


class Signal(NamedTuple):
    """One leg of a fill as sizing sees it, for some rows of its creator's book."""

    piece: Piece
    leg: Leg
    pricing: Pricing
    symbol: str


@dataclass(slots=True)
class Decisions:
    """Shapes: one row a subscription of the run. `quantity` unsigned, in the leg's direction; `target`
    signed, after the decision. `limit_prices` are the pieces'.
    """

    disposition: NDArray[np.uint8]
    quantity: Int64s
    target: Int64s
    side: int
    is_exit: bool
    limit_prices: Sequence[int]


class _Market(NamedTuple):
    """What limits ask of the signals: one value for all rows, or one each. `minimum` is the least quantity of an order."""

    price: Operand
    limit_price: Operand
    minimum: Operand
    is_denied: bool | Mask
    is_stale: bool | Mask


def _market(
    run: Run, out: Decisions, pricings: Sequence[Pricing], symbols: Sequence[str], terms: Terms, event_time_ns: int
) -> _Market:  # fmt: skip
    prices = [pricing.price for pricing in pricings]
    # A notional is below the minimum just when the quantity is below this one, which has no product to overflow.
    minimums = [
        min(max(piece.slot.lot, -(-piece.slot.min_notional * QUANTITY_ONE // price)), QUANTITY_MAX + 1)
        for piece, price in zip(run.pieces, prices, strict=True)
    ]
    window = terms.entry_window_ns
    return _Market(
        spread(prices, run.counts),
        spread(out.limit_prices, run.counts),
        spread(minimums, run.counts),
        spread_mask([symbol in terms.denied for symbol in symbols], run.counts),
        spread_mask([event_time_ns - pricing.transact_time > window for pricing in pricings], run.counts),
    )


def size_increase(signals: Sequence[Signal], run: Run, terms: Terms, event_time_ns: int) -> Decisions:
    """Size increases of creators' positions, all on the run's side, each for its piece of the run."""
    pricings = [signal.pricing for signal in signals]
    disposition = _active(run)
    target = run.target.copy()
    limit_prices = [entry_limit_price(each.price, run.side, terms.slippage_cap) for each in pricings]
    out = Decisions(disposition, np.zeros(run.count, np.int64), target, run.side, False, limit_prices)
    creator_equity = spread([pricing.creator_equity for pricing in pricings], run.counts)
    if min(pricing.creator_equity for pricing in pricings) <= 0:
        nothing = [pricing.creator_equity <= 0 for pricing in pricings]
        _skip(disposition, np.repeat(nothing, run.counts), Disposition.CREATOR_EQUITY)
        creator_equity = spread([max(pricing.creator_equity, 1) for pricing in pricings], run.counts)
    equity, beyond = run.equity([pricing.marks for pricing in pricings])
    if len(equity) and least(equity) <= 0:
        _skip(disposition, equity <= 0, Disposition.SUBSCRIPTION_EQUITY)
    _skip(disposition, beyond, Disposition.OUT_OF_RANGE)
    if run.side < 0 and not run.traits.may_short:
        _skip(disposition, run.column("allow_short") == 0, Disposition.SHORT_NOT_ALLOWED)
    added, beyond = _added(run, signals, creator_equity, equity)
    raised = target + added
    _skip(disposition, beyond, Disposition.OUT_OF_RANGE)
    if len(raised) and most(raised) > QUANTITY_MAX:
        _skip(disposition, raised > QUANTITY_MAX, Disposition.OUT_OF_RANGE)
    if any_of(disposition):
        np.copyto(target, raised, where=disposition == 0)
    else:
        out.target = target = raised
    market = _market(run, out, pricings, [signal.symbol for signal in signals], terms, event_time_ns)
    check_entry(run, out, market, held=_held(run), equity=equity, terms=terms)
    return _finish(run, out)


def _active(run: Run) -> NDArray[np.uint8]:
    """Mark with 0 the rows still to be decided, with 255 those that are not active."""
    if run.traits.is_active:
        return np.zeros(run.count, np.uint8)
    status = run.column("status")
    undecided: NDArray[np.uint8] = np.where(status >= Status.ENDING, np.uint8(255), np.uint8(0))
    return undecided


def _skip(disposition: NDArray[np.uint8], where: Mask | None, reason: Disposition) -> None:
    if where is not None and any_of(where):
        disposition[where & (disposition == 0)] = reason


def _held(run: Run) -> Int64s:
    """Name what counts toward the target: an exit still under way on the other side is not an obstacle to
    opening this one.
    """
    held: Int64s = run.position + run.open
    return np.maximum(held, 0, out=held)


class _Wanted(NamedTuple):
    """What the signals add, one value for all rows or one each."""

    quantity: Operand
    price: Operand
    creator_equity: Operand

    def of_rows(self, rows: NDArray[np.int64]) -> "_Wanted":
        return _Wanted(*(each if isinstance(each, int) else each[rows] for each in self))


def _added(
    run: Run, signals: Sequence[Signal], creator_equity: Operand, equity: Int64s
) -> tuple[Int64s, Mask | None]:
    quantity = spread([signal.leg.quantity for signal in signals], run.counts)
    price = spread([signal.pricing.price for signal in signals], run.counts)
    wanted = _Wanted(quantity, price, creator_equity)
    sole = run.traits.mode
    if sole >= 0:
        return _added_in_mode(sole, run, signals, wanted, equity, slice(None))
    mode = run.column("mode")
    added = np.zeros(len(mode), np.int64)
    beyond = np.zeros(len(mode), np.bool_)
    for each in Mode:
        rows = rows_of(mode == each)
        if len(rows):
            added[rows], too_large = _added_in_mode(each, run, signals, wanted.of_rows(rows), equity, rows)
            if too_large is not None:
                beyond[rows] = too_large
    return added, beyond


def _added_in_mode(
    mode: int, run: Run, signals: Sequence[Signal], wanted: _Wanted, equity: Int64s, rows: Rows
) -> tuple[Int64s, Mask | None]:
    ratio = np.asarray(run.column("ratio")[rows], np.int64)
    if mode == _PROPORTIONAL:
        positive = np.maximum(equity[rows], 0)
        return mul_mul_div(wanted.quantity, positive, ratio, wanted.creator_equity, QUANTITY_MAX)
    if mode == _MULTIPLIER:
        return mul_div_within(ratio, wanted.quantity, MICROS, QUANTITY_MAX)
    amount = np.asarray(run.column("amount")[rows], np.int64)
    if not any(signal.pricing.order_quantity for signal in signals):
        return mul_div_within(amount, QUANTITY_ONE, wanted.price, QUANTITY_MAX)
    added = np.zeros(len(amount), np.int64)
    beyond = np.zeros(len(amount), np.bool_)
    for signal, of_signal in zip(signals, run.ranges_among(rows), strict=True):
        added[of_signal], beyond[of_signal] = _shares_of_order(amount[of_signal], signal.leg, signal.pricing)
    return added, beyond


def _shares_of_order(amount: Int64s, leg: Leg, pricing: Pricing) -> tuple[Int64s, Mask]:
    """Say what amounts buy of a fill's order, as much of it as the leg is.

    amount * 1e8 * leg / (price * order quantity) has no 64-bit form: few distinct amounts, so one exact division each.
    """
    distinct, which = np.unique(amount, return_inverse=True)
    part, whole = (leg.quantity, pricing.order_quantity) if pricing.order_quantity else (1, 1)
    shares = [value * QUANTITY_ONE * part // (pricing.price * whole) for value in distinct.tolist()]
    beyond = np.array([share > QUANTITY_MAX for share in shares], np.bool_)
    sized = np.array([0 if share > QUANTITY_MAX else share for share in shares], np.int64)
    return sized[which], beyond[which]


def _net(run: Run, disposition: NDArray[np.uint8], wants: Mask) -> None:
    """Decide NETTED where an open order of the other side must be cancelled first, or a cause already waits
    for that.
    """
    against = (run.open < 0) & wants
    if run.waiting is not None:
        against |= run.waiting
    _skip(disposition, against, Disposition.NETTED)


def check_entry(
    run: Run, out: Decisions, market: _Market, *, held: Int64s, equity: Int64s, terms: Terms
) -> None:
    """Check the undecided rows' entries against every limit in order, and lower their targets to what is
    reachable.
    """
    disposition = out.disposition
    were_undecided = None if not any_of(disposition) else disposition == 0
    _check_permission(run, out, held, market)
    whole = out.target - held
    whole = floor_to(np.maximum(whole, 0, out=whole), run.lot)
    if run.waiting is not None or any_of(run.open):
        _net(run, disposition, whole >= run.lot)
    too_small = whole < market.minimum
    if any_of(too_small):
        _skip(disposition, whole < run.lot, Disposition.BELOW_LOT)
        _skip(disposition, too_small, Disposition.BELOW_MIN_NOTIONAL)
    left = _within_limits(run, out, market, held, equity, whole, terms)
    if were_undecided is None and not any_of(disposition):
        disposition.fill(_ORDERED)
        out.quantity = left
        if left is not whole:
            np.copyto(out.target, held + left, where=left < whole)
        return
    ordered = disposition == 0
    if were_undecided is not None:
        ordered &= were_undecided
    disposition[ordered] = _ORDERED
    np.copyto(out.quantity, left, where=ordered)
    if left is not whole:
        np.copyto(out.target, held + left, where=ordered & (left < whole))


def _check_permission(run: Run, out: Decisions, held: Int64s, market: _Market) -> None:
    """Skip the undecided rows that may not enter at all, their targets lowered to what is held. No exit is cancelled for these."""
    if run.traits.is_active and market.is_denied is False and market.is_stale is False:
        return
    disposition = out.disposition
    reachable = np.minimum(held, out.target)
    if run.waiting is not None:
        # Where an earlier cause waits, that one goes on toward what it was to reach.
        np.copyto(reachable, run.target, where=run.waiting)
    for blocked, reason in (
        (run.column("status") == Status.PAUSED, Disposition.PAUSED),
        (market.is_denied, Disposition.INSTRUMENT_DENIED),
        (market.is_stale, Disposition.ENTRY_WINDOW),
    ):
        if np.any(blocked):
            hit = blocked & (disposition == 0)
            disposition[hit] = reason
            np.copyto(out.target, reachable, where=hit)


def _within_limits(
    run: Run, out: Decisions, market: _Market, held: Int64s, equity: Int64s, whole: Int64s, terms: Terms
) -> Int64s:
    """Cut whole lots to what every limit leaves, and skip the undecided rows that one leaves less than the minimum. Returns: `whole`
    itself when no limit cuts anything.
    """
    disposition, left = out.disposition, whole
    for reason, quantity_max in _limits(run, market, held, equity, terms, whole):
        cut = floor_to(np.minimum(left, quantity_max), run.lot)
        left = np.maximum(cut, 0, out=cut)
        hit = (left < market.minimum) & (disposition == 0)
        if any_of(hit):
            disposition[hit] = reason
            np.copyto(out.target, np.minimum(held, out.target), where=hit)
    return left


def _limits(
    run: Run, market: _Market, held: Int64s, equity: Int64s, terms: Terms, whole: Int64s
) -> list[tuple[Disposition, Int64s]]:
    """Say the largest quantity that each limit leaves, in their order; limits that no row has, or that cut nothing, are left out."""
    limits: list[tuple[Disposition, Int64s]] = []
    traits, price = run.traits, market.price
    if traits.has_max_order_notional:
        most_notional = np.asarray(run.column("max_order_notional"), np.int64)
        quantity_max = _within(most_notional, QUANTITY_ONE, price)
        limits.append(
            (Disposition.MAX_ORDER_NOTIONAL, np.where(most_notional > 0, quantity_max, QUANTITY_MAX))
        )
    if traits.has_max_weight:
        weight = np.asarray(run.column("max_weight"), np.int64)
        worth = _within(np.maximum(equity, 0), weight, MICROS, _WORTH_MAX)
        allowed = _within(worth, QUANTITY_ONE, price)
        limits.append((Disposition.MAX_POSITION_WEIGHT, np.where(weight > 0, allowed - held, QUANTITY_MAX)))
    affordable = _affordable(run, market, terms, whole)
    if affordable is not None:
        limits.append((Disposition.AVAILABLE_CASH, affordable))
    return limits


def _within(a: Int64s, b: Operand, c: Operand, limit: int = QUANTITY_MAX) -> Int64s:
    """Compute floor(a * b / c), at most the limit."""
    quotient, beyond = mul_div_within(a, b, c, limit)
    if beyond is not None:
        quotient[beyond] = limit
    return quotient


def _affordable(run: Run, market: _Market, terms: Terms, whole: Int64s) -> Int64s | None:
    """Say how much the available cash pays for: at the limit price with the fee; a short needs its notional at the signal's price.

    Returns: None where it pays for all of `whole` by far, which spares the exact division.
    """
    available = run.available_cash()
    each, fee_rate = (market.price, 0) if run.side < 0 else (market.limit_price, terms.fee_rate)
    wanted = whole.astype(np.float64)
    wanted *= each
    wanted *= _AMPLE * (MICROS + fee_rate) / (MICROS * QUANTITY_ONE)
    wanted += _ROUNDED_UP
    if all_of(wanted < available):
        return None
    np.maximum(available, 0, out=available)
    # Exact although notional and fee each round up: a whole n of micros and its fee are covered just when n * (1 + fee) is.
    covered = available if fee_rate == 0 else mul_div(available, MICROS, MICROS + fee_rate)
    return _within(covered, QUANTITY_ONE, each)


def size_decrease(legs: Sequence[Leg], run: Run) -> Decisions:
    """Size decreases of creators' positions on the run's side, each for its piece: the same fraction of each target, whatever its equity;
    flat is flat.
    """
    disposition = _active(run)
    to_flat: bool | Mask = spread_mask([leg.position_after == 0 for leg in legs], run.counts)
    kept = np.zeros_like(run.target)
    if to_flat is not True:
        quantity = spread([leg.quantity for leg in legs], run.counts)
        before = spread([leg.position_before for leg in legs], run.counts)
        kept = run.target - mul_div(np.maximum(run.target, 0), quantity, before)
        if to_flat is not False:
            kept[to_flat] = 0
        # Whoever was to leave before still is, with a rest below the lot too.
        is_left = kept == 0
        to_flat = is_left if any_of(is_left) else False
    target = kept if not any_of(disposition) else np.where(disposition == 0, kept, run.target)
    limit_prices = [0] * len(legs)
    out = Decisions(disposition, np.zeros(len(target), np.int64), target, -run.side, True, limit_prices)
    decide_exit(run, out, to_flat=to_flat)
    return _finish(run, out)


def skip_suspended(run: Run, *, is_increase: bool) -> Decisions:
    """Skip a leg for every active row, whatever it is: the creator is suspended, or the signal parked. Targets stay."""
    active = run.column("status") < Status.ENDING
    disposition = np.where(active, np.uint8(Disposition.CREATOR_SUSPENDED), np.uint8(Disposition.INACTIVE))
    side = run.side if is_increase else -run.side
    quantity, limit_prices = np.zeros(run.count, np.int64), [0] * len(run.pieces)
    return Decisions(disposition, quantity, run.side * run.target, side, not is_increase, limit_prices)


def decide_exit(run: Run, out: Decisions, *, to_flat: bool | Mask) -> None:
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
        disposition.fill(_ORDERED)
        out.quantity = quantity
        return
    ordered = disposition == 0
    disposition[ordered] = _ORDERED
    np.copyto(out.quantity, quantity, where=ordered)


def _finish(run: Run, out: Decisions) -> Decisions:
    if not run.traits.is_active:
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
    groups: list[tuple[NDArray[np.int64], Decisions]] = []
    for side in (1, -1):
        # A target beyond zero is reached in two steps: the first ends at flat.
        exits = rows[(side * held > 0) & (side * (held - goal) > 0)]
        if len(exits):
            groups.append((exits, _exit_toward_target(book, slot, side, exits)))
        entries = rows[(side * held >= 0) & (side * (goal - held) > 0)]
        if may_enter and len(entries):
            entered = _enter_toward_target(
                book, slot, side, entries, terms, price=price, symbol=symbol, transact_time=transact_time,
                event_time_ns=event_time_ns,
            )  # fmt: skip
            groups.append((entries, entered))
    return groups


def _exit_toward_target(book: Book, slot: Slot, side: int, rows: NDArray[np.int64]) -> Decisions:
    run = Run((Piece(book, slot, rows),), side)
    nothing = np.zeros(len(rows), np.uint8), np.zeros(len(rows), np.int64)
    out = Decisions(*nothing, np.maximum(run.target, 0), -side, True, (0,))
    decide_exit(run, out, to_flat=run.target <= 0)
    out.target = slot.target[rows]
    return out


def _enter_toward_target(
    book: Book, slot: Slot, side: int, rows: NDArray[np.int64], terms: Terms, *, price: int, symbol: str,
    transact_time: int, event_time_ns: int,
) -> Decisions:  # fmt: skip
    run = Run((Piece(book, slot, rows),), side)
    nothing = np.zeros(len(rows), np.uint8), np.zeros(len(rows), np.int64)
    limit_price = entry_limit_price(price, side, terms.slippage_cap)
    out = Decisions(*nothing, run.target.copy(), side, False, (limit_price,))
    if side < 0:
        _skip(out.disposition, run.column("allow_short") == 0, Disposition.SHORT_NOT_ALLOWED)
    pricing = Pricing(price, 0, book.marks, 0, transact_time)
    equity, beyond = run.equity((pricing.marks,))
    _skip(out.disposition, beyond, Disposition.OUT_OF_RANGE)
    held, is_poor = _held(run), equity <= 0
    _skip(out.disposition, is_poor, Disposition.SUBSCRIPTION_EQUITY)
    np.copyto(out.target, np.minimum(held, out.target), where=is_poor)
    market = _market(run, out, (pricing,), (symbol,), terms, event_time_ns)
    check_entry(run, out, market, held=held, equity=equity, terms=terms)
    out.target *= side
    return out
