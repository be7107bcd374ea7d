"""Trade cancels and corrections of creators' fills: what was filled before is taken back as a fill
of the difference.

The compensation is sized by followers like any fill, at the instrument's current mark; the
creator's cash goes back by exactly what the original moved. The original is found among the fills
seen; a corrected fill is named by its latest correction.
"""

from typing import TYPE_CHECKING, Any

import msgspec

from engine.columns.arithmetic import value_ceil, value_floor
from engine.columns.sections import names_of
from engine.creator.seen_fills import SeenFill, SeenFills, Standing
from engine.journal.events.creator import FillApplied, FillCorrected
from engine.values.order_status import ExecType
from engine.values.refusals import Refused

if TYPE_CHECKING:
    from engine.messages.inputs import FillInput


def find_meant(
    seen: SeenFills, creator: int, fill: "FillInput", instrument: int
) -> SeenFill | Refused:
    """Find the fill that a correction means, and check that it says the same of it."""
    found = seen.find(creator, fill.exec_ref_id)
    if found is None:
        return Refused(
            "unknown_execution",
            f"exec_ref_id: expected a fill of the last 7 days, found none named {fill.exec_ref_id}",
        )
    match found.standing:
        case Standing.IS_CANCEL:
            return Refused(
                "not_a_trade",
                "exec_ref_id: expected a fill or its correction, found a trade_cancel",
            )
        case Standing.CANCELED:
            return Refused(
                "already_canceled",
                "exec_ref_id: expected a fill that counts, found it cancelled before",
            )
        case Standing.CORRECTED:
            return Refused(
                "already_corrected",
                "exec_ref_id: expected the fill's latest correction, found an earlier one",
            )
        case _:
            pass
    is_same = (fill.side, instrument) == (found.side, found.instrument)
    if fill.exec_type == ExecType.TRADE_CANCEL:
        is_same &= fill.quantity in (0, found.quantity) and fill.price in (0, found.price)
    if not is_same:
        return Refused(
            "mismatch",
            "expected symbol and side, and of a trade_cancel all, "
            "as the fill has them, found another",
        )
    return found


def compensating(fill: "FillInput", found: SeenFill, mark: int) -> "FillInput":
    """Make the fill that takes an earlier one to what it should have been, at the mark."""
    more = (0 if fill.exec_type == ExecType.TRADE_CANCEL else fill.quantity) - found.quantity
    side = found.side if more > 0 else -found.side
    return msgspec.structs.replace(fill, side=side, quantity=abs(more), price=mark)


def cash_of(side: int, quantity: int, price: int) -> int:
    """Say what a fill moves in its creator's cash. Rounds: against the creator."""
    return -value_ceil(quantity, price) if side > 0 else value_floor(quantity, price)


def cash_change(fill: "FillInput", found: SeenFill) -> int:
    """Say what a correction moves in its creator's cash: what counts instead, less exactly what the
    original moved.
    """
    is_cancel = fill.exec_type == ExecType.TRADE_CANCEL
    new = 0 if is_cancel else cash_of(found.side, fill.quantity, fill.price)
    return new - cash_of(found.side, found.quantity, found.price)


def corrected(event: FillApplied, fill: "FillInput", found: SeenFill, cash: int) -> FillCorrected:
    """Make the event of a correction from that of its compensation."""
    is_cancel = fill.exec_type == ExecType.TRADE_CANCEL
    compensation: dict[str, Any] = {name: getattr(event, name) for name in names_of(FillApplied)}
    return FillCorrected(
        **compensation,
        exec_type=fill.exec_type,
        reference=fill.exec_ref_id,
        old_side=found.side,
        old_quantity=found.quantity,
        old_price=found.price,
        new_quantity=0 if is_cancel else fill.quantity,
        new_price=0 if is_cancel else fill.price,
        cash_change=cash,
    )


def note_fill(seen: SeenFills, event: FillApplied) -> None:
    """Remember a fill; a correction's new quantity and price are what counts from now on."""
    if not isinstance(event, FillCorrected):
        seen.add(
            event.creator,
            event.exec_id,
            event.transact_time,
            instrument=event.instrument,
            side=event.side,
            standing=Standing.COUNTS,
            quantity=event.quantity,
            price=event.price,
        )
        return
    is_cancel = event.exec_type == ExecType.TRADE_CANCEL
    found = seen.find(event.creator, event.reference)
    assert found is not None, "a correction was decided while what it means was remembered"
    seen.replace(found, Standing.CANCELED if is_cancel else Standing.CORRECTED)
    seen.add(
        event.creator,
        event.exec_id,
        event.transact_time,
        instrument=event.instrument,
        side=event.old_side,
        standing=Standing.IS_CANCEL if is_cancel else Standing.COUNTS,
        quantity=event.new_quantity,
        price=event.new_price,
    )
