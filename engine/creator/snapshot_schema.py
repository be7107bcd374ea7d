"""The snapshots of a creator shard: their columns, and the fields of their records."""

import numpy as np

from engine.columns.id_index import id_columns
from engine.columns.snapshot import Records, SnapshotSchema, required
from engine.columns.table import names_with
from engine.creator.marks import MARK_COLUMNS
from engine.creator.seen_fills import FILL_COLUMNS
from engine.creator.suspensions import SUSPENSION_RECORDS
from engine.journal.cursors import CURSOR_RECORDS

INSTRUMENT_COLUMNS = {
    "lot": np.int64,
    "min_notional": np.int64,
    "mark": np.int64,
    "mark_time": np.int64,
}
_POSITION_RECORDS: Records = {"position": required("creator", "instrument", "quantity")}

_LAYOUT_3 = {
    "cursors": ("source", "shard", "number", "sequence", "position", "row", "hash"),
    "position": ("creator", "instrument", "quantity"),
    "suspension.parked": ("creator", "sequence", "position"),
    "suspension.resumed": ("creator", "command", "count"),
}
"""The fields that these records had in layout 3. They never change."""

CREATOR_SCHEMA = SnapshotSchema(
    [
        *id_columns("symbol"),
        *names_with("instrument", INSTRUMENT_COLUMNS),
        *MARK_COLUMNS,
        *names_with("creator", ("id", "broker", "cash", "command")),
        "position",
        "seen.day",
        *id_columns("seen.#"),
        *names_with("seen.#", FILL_COLUMNS),
        "next_signal",
        "cursors",
        "suspension.parked",
        "suspension.resumed",
        "parked",
    ],
    {**CURSOR_RECORDS, **_POSITION_RECORDS, **SUSPENSION_RECORDS},
    _LAYOUT_3,
)
