"""P7 for creators: cash follows from the fills, with cancelled and corrected ones as they stand
now. Every correction refers to a fill that stands.
"""

import numpy as np

from cluster.audit.report import Check
from engine.history.creators import CreatorTables, Fills
from engine.history.exact import notionals
from engine.history.storage import Ints
from engine.journal.events.creator import FillCorrected
from engine.values.order_status import ExecType
from engine.values.units import format_micros

Said = tuple[int, int, int, int]
"""Instrument, side, quantity and price of a fill as it stands."""


def check_creator_cash(tables: CreatorTables, check: Check) -> None:
    """Compare every creator's cash with its fills."""
    fills = tables.fills()
    cash = np.array(tables.initial_cash, np.int64)
    is_plain = np.ones(fills.rows_count, np.bool_)
    is_plain[list(fills.corrections)] = False
    changes = _changes(fills.sides, fills.quantities, fills.prices)
    np.add.at(cash, fills.creators[is_plain], changes[is_plain])
    for creator, change in _corrected(tables, fills, check):
        cash[creator] += change
    for found, expected in zip(tables.state.creators, cash.tolist(), strict=True):
        if found.cash != expected:
            check.fail(
                f"creator {found.creator_id}: expected cash "
                f"{format_micros(expected)}, found {format_micros(found.cash)}"
            )


def _changes(sides: Ints, quantities: Ints, prices: Ints) -> Ints:
    values = notionals(quantities, prices)
    changes: Ints = np.where(sides > 0, -values.ceils, values.floors)
    return changes


def _corrected(tables: CreatorTables, fills: Fills, check: Check) -> list[tuple[int, int]]:
    """Return each correction's creator and change of cash. The change is worked out from the fill
    that it refers to, not from the correction's own figures.
    """
    if not fills.corrections:
        return []
    standing: dict[tuple[int, str], Said] = {}
    moved: list[tuple[int, int]] = []
    for row in range(fills.rows_count):
        creator, exec_id = int(fills.creators[row]), fills.exec_ids[row]
        correction = fills.corrections.get(row)
        columns = (fills.instruments, fills.sides, fills.quantities, fills.prices)
        if correction is None:
            instrument, side, quantity, price = (int(column[row]) for column in columns)
            standing[creator, exec_id] = instrument, side, quantity, price
            continue
        check.count("fills_corrected")
        said = standing.pop((creator, correction.reference), None)
        if said is None or said != _meant(correction):
            check.fail(
                f"creator {tables.ids[creator]}, correction {exec_id}: "
                "expected it to mean a fill that counts,"
                f" found {correction.reference} unknown, replaced before, or otherwise"
            )
            continue
        instrument, side, quantity, price = said
        if correction.exec_type == ExecType.TRADE_CORRECT:
            standing[creator, exec_id] = (
                instrument,
                side,
                correction.new_quantity,
                correction.new_price,
            )
        new = correction.new_quantity
        if correction.side * correction.quantity != side * (new - quantity):
            check.fail(
                f"creator {tables.ids[creator]}, correction {exec_id}: expected it to "
                "move the difference, found another quantity"
            )
        before, after = _changes(
            np.array([side, side]),
            np.array([quantity, new]),
            np.array([price, correction.new_price]),
        ).tolist()
        moved.append((creator, after - before))
    return moved


def _meant(correction: FillCorrected) -> Said:
    return correction.instrument, correction.old_side, correction.old_quantity, correction.old_price
