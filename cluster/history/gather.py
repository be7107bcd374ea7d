"""Sections gathered into columns: what stands once in a section is a column over sections, the rest
a column over rows.

Each row knows its section, so a section's value is per_row over its rows only when and as far as
somebody needs it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from cluster.history.spill import IN_MEMORY, AnyColumn, GrowingColumns, Spill

Ints = NDArray[np.int64]
U64s = NDArray[np.uint64]
U32s = NDArray[np.uint32]


class Gathered(NamedTuple):
    """What was gathered. Shapes: `columns` and `sections`, which says which section each row is of,
    over rows; the others over sections.
    """

    columns: list[AnyColumn]
    sections: U32s
    scalars: list[Ints]
    counts: Ints


class Gatherer:
    """Gathers sections of one kind; `dtypes` are those of the row columns. What outgrows memory
    goes where `spill` says.
    """

    def __init__(self, scalars: int, dtypes: Sequence[DTypeLike], spill: Spill = IN_MEMORY) -> None:
        self._dtypes = [np.dtype(dtype) for dtype in dtypes]
        self._rows = GrowingColumns(spill, [*dtypes, np.uint32])
        self._sections = GrowingColumns(spill, [np.int64] * (scalars + 1))
        self._sections_max = max(1, spill.chunk_rows >> 4)
        self._rows_max = spill.chunk_rows
        self._scalars: list[tuple[int, ...]] = []
        self._pieces: list[list[AnyColumn]] = [[] for _ in dtypes]
        self._pieces_rows = 0

    def add(self, scalars: tuple[int, ...], *columns: AnyColumn) -> None:
        """Add one section; its columns are of equal length. Raises: ClusterError when the disk has
        no room for more.
        """
        rows = len(columns[0])
        self._scalars.append((*scalars, rows))
        for kept, column, dtype in zip(self._pieces, columns, self._dtypes, strict=True):
            kept.append(column.astype(dtype, copy=False))
        self._pieces_rows += rows
        if self._pieces_rows >= self._rows_max or len(self._scalars) >= self._sections_max:
            self._join()

    def _join(self) -> None:
        """Put the pieces so far into columns, which take a tenth of the memory of short pieces."""
        if not self._scalars:
            return
        # Order ids fill 64 bits: their upper halves wrap here and are viewed as unsigned by whoever
        # asks for them.
        scalars = np.array([[_signed(value) for value in row] for row in self._scalars], np.int64).T
        first = self._sections.count
        sections = np.repeat(
            np.arange(first, first + len(self._scalars), dtype=np.uint32), scalars[-1]
        )
        self._sections.append(list(np.ascontiguousarray(scalars)))
        self._rows.append([*(np.concatenate(kept) for kept in self._pieces), sections])
        self._scalars, self._pieces, self._pieces_rows = [], [[] for _ in self._dtypes], 0

    @property
    def rows_count(self) -> int:
        """How many rows are gathered."""
        return self._rows.count + self._pieces_rows

    def table(self) -> Gathered:
        """Name everything gathered."""
        self._join()
        return _gathered(self._rows.columns(), self._sections.columns())

    def take(self) -> Gathered:
        """Name everything gathered, and forget it."""
        self._join()
        return _gathered(self._rows.take(), self._sections.take())


def _gathered(rows: list[AnyColumn], sections: list[AnyColumn]) -> Gathered:
    return Gathered(rows[:-1], rows[-1], sections[:-1], sections[-1])


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


class Names:
    """Numbers texts 0, 1, 2, ... as they come."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._index: dict[str, int] = {}

    def number(self, text: str) -> int:
        """Number a text, the same one always the same."""
        found = self._index.setdefault(text, len(self.texts))
        if found == len(self.texts):
            self.texts.append(text)
        return found
