"""Decisions about creators' fills: a fill changes its creator's portfolio, or it is refused with a
reason.

Broker, creator and execution id name a fill, and it counts once. These ids are remembered for
`FILL_HORIZON_NS`; a fill older than that is refused for its age. Trade cancels and corrections are
decided in `engine.creator.fill_corrections`.
"""

from typing import NamedTuple

import numpy as np

from engine.columns.arithmetic import value_ceil, value_floor
from engine.creator.account import Creator
from engine.creator.marks import CreatorMarks
from engine.journal.events.creator import FillApplied
from engine.messages.inputs import FillInput
from engine.values.order_ids import LEG_MAX
from engine.values.refusals import Refused
from engine.values.units import MONEY_MAX, NS_PER_S, QUANTITY_MAX, format_quantity, format_time

FILL_HORIZON_NS = 7 * 24 * 3600 * NS_PER_S
FILL_AHEAD_NS_MAX = 5 * NS_PER_S


class FillTarget(NamedTuple):
    """The position that a fill changes: that of a creator in one instrument. `marks` are those
    that value the creator, `signal` is the number of the next signal.
    """

    creator: Creator
    instrument: int
    marks: CreatorMarks
    signal: int


def check_sender(fill: FillInput, creator: Creator | None) -> Refused | None:
    """Refuse a fill of an unknown creator, or from a broker that is not the creator's."""
    if creator is None:
        return Refused(
            "unknown_creator",
            f"creator_id: expected an open creator, found {fill.creator_id!r}",
        )
    if creator.broker != fill.broker:
        return Refused(
            "wrong_broker",
            f"creator {fill.creator_id}: expected fills of broker "
            f"{creator.broker}, found {fill.broker}",
        )
    return None


def check_age(fill: FillInput, event_time_ns: int) -> Refused | None:
    """Refuse a fill from the future, and one so old that its execution id may be forgotten."""
    if fill.transact_time > event_time_ns + FILL_AHEAD_NS_MAX:
        return refuse_ahead("transact_time", fill.transact_time, event_time_ns)
    if fill.transact_time < event_time_ns - FILL_HORIZON_NS:
        return Refused(
            "too_old",
            f"transact_time: expected at most 7 days before {format_time(event_time_ns)}, "
            f"found {format_time(fill.transact_time)}",
        )
    return None


def refuse_ahead(field: str, time_ns: int, event_time_ns: int) -> Refused:
    """Return the refusal of a time that lies too far ahead."""
    return Refused(
        "time_ahead",
        f"{field}: expected at most 5 s ahead of {format_time(event_time_ns)}, "
        f"found {format_time(time_ns)}",
    )


def cash_of(side: int, quantity: int, price: int) -> int:
    """Return what a fill adds to its creator's cash. Rounds: against the creator."""
    return -value_ceil(quantity, price) if side > 0 else value_floor(quantity, price)


def decide_fill(fill: FillInput, target: FillTarget, cash_change: int) -> FillApplied | Refused:
    """Return the event that applies a fill to its creator's portfolio and numbers its signal."""
    creator, instrument, known, signal = target
    positions = creator.positions
    before = positions.get(instrument, 0)
    after = before + fill.side * fill.quantity
    traded = sorted({*positions, instrument})
    at = traded.index(instrument)
    marks = known.prices_of(traded[:at] + traded[at + 1 :])
    marks.insert(at, fill.price)
    held = [positions.get(key, 0) for key in traded]
    equity = creator.cash + sum(map(value_floor, held, marks))
    refused = _check_positions(fill, creator, after, len(traded))
    if refused is None:
        refused = _check_range(creator, after, equity, creator.cash + cash_change)
    if refused is not None:
        return refused
    return FillApplied(
        signal=signal,
        creator=creator.number,
        instrument=instrument,
        side=fill.side,
        quantity=fill.quantity,
        price=fill.price,
        transact_time=fill.transact_time,
        order_quantity=fill.order_quantity,
        equity=equity,
        position_before=before,
        position_after=after,
        sequence=fill.sequence,
        broker=fill.broker,
        exec_id=fill.exec_id,
        order_id=fill.order_id,
        mark_instruments=np.array(traded, np.int64),
        mark_prices=np.array(marks, np.int64),
    )


def _check_positions(
    fill: FillInput, creator: Creator, after: int, traded_count: int
) -> Refused | None:
    """Refuse a fill that contradicts the fills before it, or that trades too many instruments."""
    said = fill.position_after
    if said is not None and said != after:
        return Refused(
            "position_mismatch",
            f"position_after: expected {format_quantity(after)}, found "
            f"{format_quantity(said)};"
            " an earlier fill of this creator is missing or was applied by another name",
        )
    if traded_count > LEG_MAX + 1:
        return Refused(
            "out_of_range",
            f"creator {creator.creator_id}: expected at most {LEG_MAX + 1} "
            "instruments ever traded, found one more",
        )
    return None


def _check_range(creator: Creator, after: int, equity: int, cash: int) -> Refused | None:
    """Refuse a fill that takes position, cash or equity out of range."""
    if abs(after) > QUANTITY_MAX or abs(equity) > MONEY_MAX or abs(cash) > MONEY_MAX:
        return Refused(
            "out_of_range",
            f"creator {creator.creator_id}: expected position, cash "
            "and equity in range after the fill",
        )
    return None
