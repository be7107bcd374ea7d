"""Trade cancels and corrections of creators' fills: a fill of the difference reverses the earlier
fill.

Followers size this compensation like any other fill, at the instrument's current mark. The
creator's cash is restored by exactly what the original moved. The original is found among the fills
seen. Once a fill is corrected, the id of its latest correction names it.
"""

import msgspec

from engine.columns.section_types import names_of
from engine.creator.fills import FillTarget, cash_of, decide_fill
from engine.creator.seen_fills import FillStanding, SeenFill, SeenFills
from engine.journal.events.creator import FillApplied, FillCorrected
from engine.messages.inputs import FillInput
from engine.values.order_status import ExecType
from engine.values.refusals import Refused


def decide_fill_correction(
    fill: FillInput, target: FillTarget, seen: SeenFills
) -> FillCorrected | Refused:
    """Decide a trade cancel or correct: find the earlier fill, and return the fill of the
    difference.
    """
    original = _find_original(seen, fill, target)
    if isinstance(original, Refused):
        return original
    is_cancel = fill.exec_type == ExecType.TRADE_CANCEL
    quantity, price = (0, 0) if is_cancel else (fill.quantity, fill.price)
    cash_change = cash_of(original.side, quantity, price) - cash_of(
        original.side, original.quantity, original.price
    )
    more = quantity - original.quantity
    compensation = msgspec.structs.replace(
        fill,
        side=original.side if more > 0 else -original.side,
        quantity=abs(more),
        price=target.marks.prices_of([target.instrument])[0],
    )
    applied = decide_fill(compensation, target, cash_change)
    if isinstance(applied, Refused):
        return applied
    return FillCorrected(
        **{name: getattr(applied, name) for name in names_of(FillApplied)},
        exec_type=fill.exec_type,
        reference=fill.exec_ref_id,
        old_side=original.side,
        old_quantity=original.quantity,
        old_price=original.price,
        new_quantity=quantity,
        new_price=price,
        cash_change=cash_change,
    )


def _find_original(seen: SeenFills, fill: FillInput, target: FillTarget) -> SeenFill | Refused:
    """Find the fill that a correction refers to, and check that the correction agrees with it."""
    found = seen.find(target.creator.number, fill.exec_ref_id)
    if found is None:
        return Refused(
            "unknown_execution",
            f"exec_ref_id: expected a fill of the last 7 days, found none named {fill.exec_ref_id}",
        )
    refused = _check_counts(found)
    if refused is not None:
        return refused
    is_same = (fill.side, target.instrument) == (found.side, found.instrument)
    if fill.exec_type == ExecType.TRADE_CANCEL:
        is_same &= fill.quantity in (0, found.quantity) and fill.price in (0, found.price)
    if not is_same:
        return Refused(
            "mismatch",
            "expected symbol and side, and of a trade_cancel all, "
            "as the fill has them, found another",
        )
    return found


def _check_counts(found: SeenFill) -> Refused | None:
    """Refuse a fill that does not count any more, and a trade cancel, which is no fill."""
    match found.standing:
        case FillStanding.IS_CANCEL:
            return Refused(
                "not_a_trade",
                "exec_ref_id: expected a fill or its correction, found a trade_cancel",
            )
        case FillStanding.CANCELED:
            return Refused(
                "already_canceled",
                "exec_ref_id: expected a fill that counts, found it cancelled before",
            )
        case FillStanding.CORRECTED:
            return Refused(
                "already_corrected",
                "exec_ref_id: expected the fill's latest correction, found an earlier one",
            )
        case _:
            return None


def note_fill(seen: SeenFills, event: FillApplied) -> None:
    """Remember a fill. After a correction the new quantity and price count."""
    if not isinstance(event, FillCorrected):
        seen.add(
            event.creator,
            event.exec_id,
            event.transact_time,
            instrument=event.instrument,
            side=event.side,
            standing=FillStanding.COUNTS,
            quantity=event.quantity,
            price=event.price,
        )
        return
    is_cancel = event.exec_type == ExecType.TRADE_CANCEL
    found = seen.find(event.creator, event.reference)
    assert found is not None, "a correction was decided while its original was remembered"
    seen.replace(found, FillStanding.CANCELED if is_cancel else FillStanding.CORRECTED)
    seen.add(
        event.creator,
        event.exec_id,
        event.transact_time,
        instrument=event.instrument,
        side=event.old_side,
        standing=FillStanding.IS_CANCEL if is_cancel else FillStanding.COUNTS,
        quantity=event.new_quantity,
        price=event.new_price,
    )
