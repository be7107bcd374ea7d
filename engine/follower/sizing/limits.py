"""Limits on entries: permission, netting, order notional, position weight, available cash, in this
order.

The first limit that leaves less than a lot or the minimum is the reason of the skip. A quantity
that a limit takes away leaves the target too. One that rounding or the minimum alone withholds
stays in it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.columns.arithmetic import (
    Int64s,
    Operand,
    floor_to,
    mul_div,
    mul_div_within,
)
from engine.columns.reductions import all_of, any_of
from engine.follower.book import Mask, SubscriptionStatus
from engine.follower.rows import per_row, per_row_mask
from engine.follower.sizing.batch import Batch
from engine.follower.sizing.decisions import ORDERED, Decisions, Pricing, skip
from engine.values.copy_policy import CopyPolicy
from engine.values.dispositions import Disposition
from engine.values.units import MICROS, QUANTITY_MAX, QUANTITY_ONE

_WORTH_MAX = 1 << 60
"""More than any position can be worth, micros: a weight that allows as much is no limit."""


_AMPLE = 1 + 2**-30


_ROUNDED_UP = 8.0
"""An estimate in float64 with these added is above the exact amount, each rounding up to a micro
included.
"""


class Market(NamedTuple):
    """The signals as limits see them: one value for all rows, or one each. `minimum` is the least
    quantity of an order.
    """

    price: Operand
    limit_price: Operand
    minimum: Operand
    is_denied: bool | Mask
    is_stale: bool | Mask


def market_of(
    batch: Batch,
    out: Decisions,
    pricings: Sequence[Pricing],
    symbols: Sequence[str],
    policy: CopyPolicy,
    event_time_ns: int,
) -> Market:
    prices = [pricing.price for pricing in pricings]
    # A notional is below the minimum just when the quantity is below this one, which has no product
    # to overflow.
    minimums = [
        min(
            max(piece.slot.lot, -(-piece.slot.min_notional * QUANTITY_ONE // price)),
            QUANTITY_MAX + 1,
        )
        for piece, price in zip(batch.pieces, prices, strict=True)
    ]
    window = policy.entry_window_ns
    return Market(
        per_row(prices, batch.counts),
        per_row(out.limit_prices, batch.counts),
        per_row(minimums, batch.counts),
        per_row_mask([symbol in policy.denied for symbol in symbols], batch.counts),
        per_row_mask(
            [event_time_ns - pricing.transact_time > window for pricing in pricings], batch.counts
        ),
    )


def _net(batch: Batch, disposition: NDArray[np.uint8], wants: Mask) -> None:
    """Decide NETTED where an open order of the other side must be cancelled first, or a cause
    already waits for that.
    """
    against = (batch.open < 0) & wants
    if batch.waiting is not None:
        against |= batch.waiting
    skip(disposition, against, Disposition.NETTED)


def check_entry(
    batch: Batch,
    out: Decisions,
    market: Market,
    *,
    held: Int64s,
    equity: Int64s,
    policy: CopyPolicy,
) -> None:
    """Check the undecided rows' entries against every limit in order, and lower their targets to
    what is reachable.
    """
    disposition = out.disposition
    were_undecided = None if not any_of(disposition) else disposition == 0
    _check_permission(batch, out, held, market)
    whole = out.target - held
    whole = floor_to(np.maximum(whole, 0, out=whole), batch.lot)
    if batch.waiting is not None or any_of(batch.open):
        _net(batch, disposition, whole >= batch.lot)
    too_small = whole < market.minimum
    if any_of(too_small):
        skip(disposition, whole < batch.lot, Disposition.BELOW_LOT)
        skip(disposition, too_small, Disposition.BELOW_MIN_NOTIONAL)
    left = _within_limits(batch, out, market, held, equity, whole, policy)
    if were_undecided is None and not any_of(disposition):
        disposition.fill(ORDERED)
        out.quantity = left
        if left is not whole:
            np.copyto(out.target, held + left, where=left < whole)
        return
    ordered = disposition == 0
    if were_undecided is not None:
        ordered &= were_undecided
    disposition[ordered] = ORDERED
    np.copyto(out.quantity, left, where=ordered)
    if left is not whole:
        np.copyto(out.target, held + left, where=ordered & (left < whole))


def _check_permission(batch: Batch, out: Decisions, held: Int64s, market: Market) -> None:
    """Skip the undecided rows that may not enter at all, their targets lowered to what is held. No
    exit is cancelled for these.
    """
    if batch.summary.is_active and market.is_denied is False and market.is_stale is False:
        return
    disposition = out.disposition
    reachable = np.minimum(held, out.target)
    if batch.waiting is not None:
        # Where an earlier cause waits, that one goes on toward what it was to reach.
        np.copyto(reachable, batch.target, where=batch.waiting)
    for blocked, reason in (
        (batch.column("status") == SubscriptionStatus.PAUSED, Disposition.PAUSED),
        (market.is_denied, Disposition.INSTRUMENT_DENIED),
        (market.is_stale, Disposition.ENTRY_WINDOW),
    ):
        if np.any(blocked):
            hit = blocked & (disposition == 0)
            disposition[hit] = reason
            np.copyto(out.target, reachable, where=hit)


def _within_limits(
    batch: Batch,
    out: Decisions,
    market: Market,
    held: Int64s,
    equity: Int64s,
    whole: Int64s,
    policy: CopyPolicy,
) -> Int64s:
    """Cut whole lots to what every limit leaves. Skip the undecided rows that a limit leaves less
    than the minimum. Returns: `whole` itself when no limit cuts anything.
    """
    disposition, left = out.disposition, whole
    for reason, quantity_max in _limits(batch, market, held, equity, policy, whole):
        cut = floor_to(np.minimum(left, quantity_max), batch.lot)
        left = np.maximum(cut, 0, out=cut)
        hit = (left < market.minimum) & (disposition == 0)
        if any_of(hit):
            disposition[hit] = reason
            np.copyto(out.target, np.minimum(held, out.target), where=hit)
    return left


def _limits(
    batch: Batch, market: Market, held: Int64s, equity: Int64s, policy: CopyPolicy, whole: Int64s
) -> list[tuple[Disposition, Int64s]]:
    """Return the largest quantity that each limit leaves, in order. Limits that no row has, or that
    cut nothing, are left out.
    """
    limits: list[tuple[Disposition, Int64s]] = []
    summary, price = batch.summary, market.price
    if summary.has_max_order_notional:
        most_notional = np.asarray(batch.column("max_order_notional"), np.int64)
        quantity_max = _within(most_notional, QUANTITY_ONE, price)
        limits.append(
            (
                Disposition.MAX_ORDER_NOTIONAL,
                np.where(most_notional > 0, quantity_max, QUANTITY_MAX),
            )
        )
    if summary.has_max_weight:
        weight = np.asarray(batch.column("max_weight"), np.int64)
        worth = _within(np.maximum(equity, 0), weight, MICROS, _WORTH_MAX)
        allowed = _within(worth, QUANTITY_ONE, price)
        limits.append(
            (Disposition.MAX_POSITION_WEIGHT, np.where(weight > 0, allowed - held, QUANTITY_MAX))
        )
    affordable = _affordable(batch, market, policy, whole)
    if affordable is not None:
        limits.append((Disposition.AVAILABLE_CASH, affordable))
    return limits


def _within(a: Int64s, b: Operand, c: Operand, limit: int = QUANTITY_MAX) -> Int64s:
    """Compute floor(a * b / c), at most the limit."""
    quotient, beyond = mul_div_within(a, b, c, limit)
    if beyond is not None:
        quotient[beyond] = limit
    return quotient


def _affordable(batch: Batch, market: Market, policy: CopyPolicy, whole: Int64s) -> Int64s | None:
    """Return how much the available cash pays for, at the limit price with the fee. A short needs
    its notional at the signal's price.

    Returns: None where it pays for all of `whole` by far, which spares the exact division.
    """
    available = batch.available_cash()
    each, fee_rate = (market.price, 0) if batch.side < 0 else (market.limit_price, policy.fee_rate)
    wanted = whole.astype(np.float64)
    wanted *= each
    wanted *= _AMPLE * (MICROS + fee_rate) / (MICROS * QUANTITY_ONE)
    wanted += _ROUNDED_UP
    if all_of(wanted < available):
        return None
    np.maximum(available, 0, out=available)
    # Exact although notional and fee each round up: a whole n of micros and its fee are covered
    # just when n * (1 + fee) is.
    covered = available if fee_rate == 0 else mul_div(available, MICROS, MICROS + fee_rate)
    return _within(covered, QUANTITY_ONE, each)
