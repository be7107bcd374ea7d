"""Values that sizing takes and gives: signals with their pricing, and decisions as columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.columns.arithmetic import (
    Int64s,
)
from engine.columns.reductions import any_of
from engine.follower.book import Mask, SubscriptionStatus
from engine.follower.sizing.batch import Batch
from engine.follower.sizing.legs import Leg
from engine.follower.sizing.pieces import Piece
from engine.values.dispositions import Disposition

ORDERED = int(Disposition.ORDERED)


class Pricing(NamedTuple):
    """The market and the creator as a signal tells them; `marks` by instrument."""

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
    """Shapes: one row per subscription of the batch. `quantity` unsigned, in the leg's direction;
    `target` signed, after the decision. `limit_prices` are the pieces'.
    """

    disposition: NDArray[np.uint8]
    quantity: Int64s
    target: Int64s
    side: int
    is_exit: bool
    limit_prices: Sequence[int]


def held_of(batch: Batch) -> Int64s:
    """Return what counts toward the target. An exit still under way on the other side is not an
    obstacle to opening this one.
    """
    held: Int64s = batch.position + batch.open
    return np.maximum(held, 0, out=held)


def finish(batch: Batch, out: Decisions) -> Decisions:
    if not batch.summary.is_active:
        out.disposition[out.disposition == 255] = Disposition.INACTIVE
    if batch.side < 0:
        out.target = -out.target
    return out


def undecided(batch: Batch) -> NDArray[np.uint8]:
    """Mark with 0 the rows still to be decided, with 255 those that are not active."""
    if batch.summary.is_active:
        return np.zeros(batch.count, np.uint8)
    status = batch.column("status")
    undecided: NDArray[np.uint8] = np.where(
        status >= SubscriptionStatus.ENDING, np.uint8(255), np.uint8(0)
    )
    return undecided


def skip(disposition: NDArray[np.uint8], where: Mask | None, reason: Disposition) -> None:
    if where is not None and any_of(where):
        disposition[where & (disposition == 0)] = reason
