"""The columns of a book's subscriptions: names by width, their form in a snapshot, and new rows.

`engine.follower.subscription_table` keeps them.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from engine.columns.reductions import any_of
from engine.columns.snapshot import Picks, Records
from engine.columns.state import AnyColumn

WIDE = ("cash", "reserved", "from_frame", "command")
"""64 bits."""
MONEY = WIDE[:2]
"""The two columns that nearly every signal and report asks for."""
NARROW = ("subscription", "account", "ratio")
"""32 bits, unsigned."""
STATUS = ("status",)
"""8 bits, unsigned."""
SHARED_NARROW = ("mode", "allow_short")
"""8 bits, unsigned."""
SHARED_WIDE = (
    "amount",
    "max_order_notional",
    "max_weight",
    "short_proceeds",
    "until_frame",
    "end_command",
    "pause_command",
    "resume_command",
)
"""64 bits."""
SHARED: dict[str, np.dtype[Any]] = {
    **dict.fromkeys(SHARED_NARROW, np.dtype(np.uint8)),
    **dict.fromkeys(SHARED_WIDE, np.dtype(np.int64)),
}
TABLE_RECORDS: Records = {
    "book.wide": dict.fromkeys(WIDE, 0),
    "book.narrow": dict.fromkeys(NARROW, 0),
    "book.status": dict.fromkeys(STATUS, 0),
    "book.shared_narrow": dict.fromkeys(SHARED_NARROW, 0),
    "book.shared_wide": dict.fromkeys(SHARED_WIDE, 0),
}
TABLE_FIELDS = ("count", "varied")
"""The first words of a table in a snapshot. The shared values follow."""
HEADER_WORDS = len(TABLE_FIELDS) + len(SHARED)
NO_SHARED: tuple[AnyColumn | None, ...] = (None,) * len(SHARED)
"""Stands for new rows in which every shared column is zero."""


class TablePicks(NamedTuple):
    """The way from the columns of a table in a snapshot to those of today."""

    wide: Picks
    narrow: Picks
    status: Picks
    shared_narrow: Picks
    shared_wide: Picks

    @classmethod
    def of(cls, picks: Mapping[str, Picks]) -> "TablePicks":
        """Find a table's records among those of a snapshot."""
        return cls(*(picks[name] for name in TABLE_RECORDS))

    @property
    def shared_count(self) -> int:
        """The number of shared columns that were written."""
        return self.shared_narrow.written_count + self.shared_wide.written_count


class NewRows(NamedTuple):
    """Rows to add, to one book or many: each takes a slice. None stands for zero in every row.

    They are gathered once. Most books in a batch get one row or two, and one call per column of
    each book would cost more than the rows.
    """

    wide: AnyColumn
    narrow: AnyColumn
    status: AnyColumn | None
    shared: tuple[AnyColumn | None, ...]

    @classmethod
    def of(cls, columns: Mapping[str, AnyColumn]) -> "NewRows":
        """Gather columns of equal length; those not given are zero."""
        count = len(next(iter(columns.values())))

        def gathered(names: tuple[str, ...], dtype: type[np.integer]) -> AnyColumn:
            matrix: AnyColumn = np.zeros((len(names), count), dtype)
            for row, name in zip(matrix, names, strict=True):
                if name in columns:
                    row[:] = columns[name]
            return matrix

        def unless_zero(name: str) -> AnyColumn | None:
            column = columns.get(name)
            return column if column is not None and any_of(column) else None

        shared = tuple(map(unless_zero, SHARED))
        return cls(
            gathered(WIDE, np.int64),
            gathered(NARROW, np.uint32),
            unless_zero("status"),
            NO_SHARED if all(column is None for column in shared) else shared,
        )
