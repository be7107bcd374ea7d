"""Sizing of increases: one signal for a batch of subscriptions, decided at once over columns.

Everything here reads the book and returns decisions; nothing is changed. Quantities are taken in
the direction of the leg, so long and short are one rule. T is the target, H the quantity that is
held or on its way (position plus open orders), both along the leg's side.

Order of the rules: equity, permission, netting, then the other limits in their order. The first
limit that leaves less than a lot or the minimum is the reason of the skip. A quantity that rounding
or the minimum alone withholds stays in the target. One that a limit takes away does not.
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
from engine.follower.rows import per_row
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
from engine.values.copy_mode import Mode
from engine.values.copy_policy import CopyPolicy
from engine.values.dispositions import Disposition
from engine.values.units import MICROS, QUANTITY_MAX, QUANTITY_ONE

_PROPORTIONAL, _MULTIPLIER = int(Mode.PROPORTIONAL), int(Mode.MULTIPLIER)


def size_increase(
    signals: Sequence[Signal], batch: Batch, policy: CopyPolicy, event_time_ns: int
) -> Decisions:
    """Size increases of creators' positions, all on the batch's side, each for its piece of the
    batch: check equity, raise the targets, check the entries against every limit.
    """
    pricings = [signal.pricing for signal in signals]
    limit_prices = [
        entry_limit_price(each.price, batch.side, policy.slippage_cap) for each in pricings
    ]
    nothing = np.zeros(batch.count, np.int64)
    out = Decisions(undecided(batch), nothing, batch.target.copy(), batch.side, False, limit_prices)
    creator_equity, equity = _check_equity(batch, out, pricings)
    if batch.side < 0 and not batch.summary.may_short:
        skip(out.disposition, batch.column("allow_short") == 0, Disposition.SHORT_NOT_ALLOWED)
    _raise_targets(batch, out, signals, creator_equity, equity)
    market = market_of(
        batch, out, pricings, [signal.symbol for signal in signals], policy, event_time_ns
    )
    check_entry(batch, out, market, held=held_of(batch), equity=equity, policy=policy)
    return finish(batch, out)


def _check_equity(
    batch: Batch, out: Decisions, pricings: Sequence[Pricing]
) -> tuple[Operand, Int64s]:
    """Skip rows whose creator, or who themselves, have no equity. Returns: the creators' equity,
    above zero, and the rows' own.
    """
    creator_equity = [pricing.creator_equity for pricing in pricings]
    if min(creator_equity) <= 0:
        is_none = [each <= 0 for each in creator_equity]
        skip(out.disposition, np.repeat(is_none, batch.counts), Disposition.CREATOR_EQUITY)
        creator_equity = [max(each, 1) for each in creator_equity]
    equity, beyond = batch.equity([pricing.marks for pricing in pricings])
    if len(equity) and least(equity) <= 0:
        skip(out.disposition, equity <= 0, Disposition.SUBSCRIPTION_EQUITY)
    skip(out.disposition, beyond, Disposition.OUT_OF_RANGE)
    return per_row(creator_equity, batch.counts), equity


def _raise_targets(
    batch: Batch,
    out: Decisions,
    signals: Sequence[Signal],
    creator_equity: Operand,
    equity: Int64s,
) -> None:
    """Raise the undecided rows' targets by what the signals add."""
    added, beyond = _added(batch, signals, creator_equity, equity)
    raised = out.target + added
    skip(out.disposition, beyond, Disposition.OUT_OF_RANGE)
    if len(raised) and most(raised) > QUANTITY_MAX:
        skip(out.disposition, raised > QUANTITY_MAX, Disposition.OUT_OF_RANGE)
    if any_of(out.disposition):
        np.copyto(out.target, raised, where=out.disposition == 0)
    else:
        out.target = raised


class _Wanted(NamedTuple):
    """The quantities that the signals add, one value for all rows or one each."""

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
    """Compute what amounts buy of a fill's order, as much of it as the leg is.

    amount * 1e8 * leg / (price * order quantity) has no 64-bit form. There are few distinct
    amounts, so each is one exact division.
    """
    distinct, which = np.unique(amount, return_inverse=True)
    part, whole = (leg.quantity, pricing.order_quantity) if pricing.order_quantity else (1, 1)
    shares = [value * QUANTITY_ONE * part // (pricing.price * whole) for value in distinct.tolist()]
    beyond = np.array([share > QUANTITY_MAX for share in shares], np.bool_)
    sized = np.array([0 if share > QUANTITY_MAX else share for share in shares], np.int64)
    return sized[which], beyond[which]
