"""Sizing: what one signal means for a batch of subscriptions, decided at once over columns (DESIGN
section 7 in code).

Everything here reads the book and returns decisions; nothing is changed. Quantities are taken in
the direction of the leg, so long and short are one rule: T is the target, H what is held or on its
way
(position plus open orders), both along the leg's side.

Order of the rules for an increase: equity, permission, netting, then the other limits in their
order; the first limit that leaves less than a lot or the minimum names the skip. What rounding or
the minimum alone withholds stays in the target; what a limit cuts does not.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.columns.arithmetic import (
    Int64s,
    Operand,
    entry_limit_price,
    mul_div_within,
    mul_mul_div,
)
from engine.columns.reductions import any_of, least, most, rows_of
from engine.follower.book import Mask, Rows
from engine.follower.sizing.batch import Batch
from engine.follower.sizing.decisions import (
    Decisions,
    Pricing,
    Signal,
    finish,
    held_of,
    skip,
    undecided,
)
from engine.follower.sizing.legs import Leg
from engine.follower.sizing.limits import check_entry, market_of
from engine.follower.sizing.pieces import per_row
from engine.values.copy_mode import Mode
from engine.values.copy_policy import CopyPolicy
from engine.values.dispositions import Disposition
from engine.values.units import MICROS, QUANTITY_MAX, QUANTITY_ONE

_PROPORTIONAL, _MULTIPLIER = int(Mode.PROPORTIONAL), int(Mode.MULTIPLIER)


def size_increase(
    signals: Sequence[Signal], batch: Batch, terms: CopyPolicy, event_time_ns: int
) -> Decisions:
    """Size increases of creators' positions, all on the batch's side, each for its piece of the
    batch.
    """
    pricings = [signal.pricing for signal in signals]
    disposition = undecided(batch)
    target = batch.target.copy()
    limit_prices = [
        entry_limit_price(each.price, batch.side, terms.slippage_cap) for each in pricings
    ]
    out = Decisions(
        disposition, np.zeros(batch.count, np.int64), target, batch.side, False, limit_prices
    )
    creator_equity = per_row([pricing.creator_equity for pricing in pricings], batch.counts)
    if min(pricing.creator_equity for pricing in pricings) <= 0:
        nothing = [pricing.creator_equity <= 0 for pricing in pricings]
        skip(disposition, np.repeat(nothing, batch.counts), Disposition.CREATOR_EQUITY)
        creator_equity = per_row(
            [max(pricing.creator_equity, 1) for pricing in pricings], batch.counts
        )
    equity, beyond = batch.equity([pricing.marks for pricing in pricings])
    if len(equity) and least(equity) <= 0:
        skip(disposition, equity <= 0, Disposition.SUBSCRIPTION_EQUITY)
    skip(disposition, beyond, Disposition.OUT_OF_RANGE)
    if batch.side < 0 and not batch.summary.may_short:
        skip(disposition, batch.column("allow_short") == 0, Disposition.SHORT_NOT_ALLOWED)
    added, beyond = _added(batch, signals, creator_equity, equity)
    raised = target + added
    skip(disposition, beyond, Disposition.OUT_OF_RANGE)
    if len(raised) and most(raised) > QUANTITY_MAX:
        skip(disposition, raised > QUANTITY_MAX, Disposition.OUT_OF_RANGE)
    if any_of(disposition):
        np.copyto(target, raised, where=disposition == 0)
    else:
        out.target = target = raised
    market = market_of(
        batch, out, pricings, [signal.symbol for signal in signals], terms, event_time_ns
    )
    check_entry(batch, out, market, held=held_of(batch), equity=equity, terms=terms)
    return finish(batch, out)


class _Wanted(NamedTuple):
    """What the signals add, one value for all rows or one each."""

    quantity: Operand
    price: Operand
    creator_equity: Operand

    def of_rows(self, rows: NDArray[np.int64]) -> "_Wanted":
        return _Wanted(*(each if isinstance(each, int) else each[rows] for each in self))


def _added(
    batch: Batch, signals: Sequence[Signal], creator_equity: Operand, equity: Int64s
) -> tuple[Int64s, Mask | None]:
    quantity = per_row([signal.leg.quantity for signal in signals], batch.counts)
    price = per_row([signal.pricing.price for signal in signals], batch.counts)
    wanted = _Wanted(quantity, price, creator_equity)
    sole = batch.summary.mode
    if sole >= 0:
        return _added_in_mode(sole, batch, signals, wanted, equity, slice(None))
    mode = batch.column("mode")
    added = np.zeros(len(mode), np.int64)
    beyond = np.zeros(len(mode), np.bool_)
    for each in Mode:
        rows = rows_of(mode == each)
        if len(rows):
            added[rows], too_large = _added_in_mode(
                each, batch, signals, wanted.of_rows(rows), equity, rows
            )
            if too_large is not None:
                beyond[rows] = too_large
    return added, beyond


def _added_in_mode(
    mode: int, batch: Batch, signals: Sequence[Signal], wanted: _Wanted, equity: Int64s, rows: Rows
) -> tuple[Int64s, Mask | None]:
    ratio = np.asarray(batch.column("ratio")[rows], np.int64)
    if mode == _PROPORTIONAL:
        positive = np.maximum(equity[rows], 0)
        return mul_mul_div(wanted.quantity, positive, ratio, wanted.creator_equity, QUANTITY_MAX)
    if mode == _MULTIPLIER:
        return mul_div_within(ratio, wanted.quantity, MICROS, QUANTITY_MAX)
    amount = np.asarray(batch.column("amount")[rows], np.int64)
    if not any(signal.pricing.order_quantity for signal in signals):
        return mul_div_within(amount, QUANTITY_ONE, wanted.price, QUANTITY_MAX)
    added = np.zeros(len(amount), np.int64)
    beyond = np.zeros(len(amount), np.bool_)
    for signal, of_signal in zip(signals, batch.ranges_among(rows), strict=True):
        added[of_signal], beyond[of_signal] = _shares_of_order(
            amount[of_signal], signal.leg, signal.pricing
        )
    return added, beyond


def _shares_of_order(amount: Int64s, leg: Leg, pricing: Pricing) -> tuple[Int64s, Mask]:
    """Say what amounts buy of a fill's order, as much of it as the leg is.

    amount * 1e8 * leg / (price * order quantity) has no 64-bit form: few distinct amounts, so one
    exact division each.
    """
    distinct, which = np.unique(amount, return_inverse=True)
    part, whole = (leg.quantity, pricing.order_quantity) if pricing.order_quantity else (1, 1)
    shares = [value * QUANTITY_ONE * part // (pricing.price * whole) for value in distinct.tolist()]
    beyond = np.array([share > QUANTITY_MAX for share in shares], np.bool_)
    sized = np.array([0 if share > QUANTITY_MAX else share for share in shares], np.int64)
    return sized[which], beyond[which]
