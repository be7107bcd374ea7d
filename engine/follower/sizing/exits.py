"""Sizing of decreases: exits sell what a row holds beyond its target, and never open or add."""

from collections.abc import Sequence

import numpy as np

from engine.columns.arithmetic import (
    floor_to,
    mul_div,
)
from engine.columns.reductions import all_of, any_of
from engine.follower.book import Mask, SubscriptionStatus
from engine.follower.rows import per_row, per_row_mask
from engine.follower.sizing.batch import Batch
from engine.follower.sizing.decisions import ORDERED, Decisions, finish, held_of, skip, undecided
from engine.follower.sizing.legs import Leg
from engine.values.dispositions import Disposition


def size_decrease(legs: Sequence[Leg], batch: Batch) -> Decisions:
    """Size decreases of creators' positions on the batch's side, each for its piece: the same
    fraction of each target, whatever its equity; flat is flat.
    """
    disposition = undecided(batch)
    to_flat: bool | Mask = per_row_mask([leg.position_after == 0 for leg in legs], batch.counts)
    kept = np.zeros_like(batch.target)
    if to_flat is not True:
        quantity = per_row([leg.quantity for leg in legs], batch.counts)
        before = per_row([leg.position_before for leg in legs], batch.counts)
        kept = batch.target - mul_div(np.maximum(batch.target, 0), quantity, before)
        if to_flat is not False:
            kept[to_flat] = 0
        # A row that was to leave before still is, with a rest below the lot too.
        is_left = kept == 0
        to_flat = is_left if any_of(is_left) else False
    target = kept if not any_of(disposition) else np.where(disposition == 0, kept, batch.target)
    limit_prices = [0] * len(legs)
    out = Decisions(
        disposition, np.zeros(len(target), np.int64), target, -batch.side, True, limit_prices
    )
    decide_exit(batch, out, to_flat=to_flat)
    return finish(batch, out)


def skip_suspended(batch: Batch, *, is_increase: bool) -> Decisions:
    """Skip a leg for every active row: the creator is suspended, or the signal quarantined. Targets
    stay.
    """
    active = batch.column("status") < SubscriptionStatus.ENDING
    disposition = np.where(
        active, np.uint8(Disposition.CREATOR_SUSPENDED), np.uint8(Disposition.INACTIVE)
    )
    side = batch.side if is_increase else -batch.side
    quantity, limit_prices = np.zeros(batch.count, np.int64), [0] * len(batch.pieces)
    return Decisions(
        disposition, quantity, batch.side * batch.target, side, not is_increase, limit_prices
    )


def decide_exit(batch: Batch, out: Decisions, *, to_flat: bool | Mask) -> None:
    """Order what the undecided rows hold beyond their targets. Nothing is opened or added.

    `batch.side` is the position's. What is still held of the other side is an exit of an earlier
    cause, which is tried again for that cause.
    """
    disposition, held = out.disposition, held_of(batch)
    excess = held - out.target
    np.maximum(excess, 0, out=excess)
    # An exit to flat sells all of it, a rest below the lot too.
    if to_flat is True:
        quantity = excess
    elif to_flat is False:
        quantity = floor_to(excess, batch.lot)
    else:
        quantity = np.where(to_flat, excess, floor_to(excess, batch.lot))
    quantity = np.minimum(quantity, held)
    if batch.waiting is not None or any_of(batch.open):
        against = (batch.open > 0) & (quantity > 0)
        if batch.waiting is not None:
            against |= batch.waiting
        skip(disposition, against, Disposition.NETTED)
    if not all_of(quantity != 0):
        skip(disposition, (batch.position <= 0) & (held == 0), Disposition.NO_POSITION)
        skip(disposition, quantity == 0, Disposition.BELOW_LOT)
    if not any_of(disposition):
        disposition.fill(ORDERED)
        out.quantity = quantity
        return
    ordered = disposition == 0
    disposition[ordered] = ORDERED
    np.copyto(out.quantity, quantity, where=ordered)
