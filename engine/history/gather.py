"""Sections of events gathered into columns: a value that stands once in a section becomes a column
over sections, all else a column over rows.

Each row knows its section. So a section's value is repeated over its rows only when somebody needs
it, and only for the rows in question.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from engine.history.storage import IN_MEMORY, AnyColumn, ColumnStorage, Ints, U32s


class Gathered(NamedTuple):
    """Gathered sections. Shapes: `columns` and `sections` (each row's section) over rows; the
    others over sections.
    """

    columns: list[AnyColumn]
    sections: U32s
    scalars: list[Ints]
    counts: Ints


class Gatherer:
    """Gathers sections of one kind. `dtypes` are those of the row columns, and `storage` keeps all
    columns.
    """

    def __init__(
        self, scalars: int, dtypes: Sequence[DTypeLike], storage: ColumnStorage = IN_MEMORY
    ) -> None:
        self._dtypes = [np.dtype(dtype) for dtype in dtypes]
        self._rows = storage.growing([*dtypes, np.uint32])
        self._sections = storage.growing([np.int64] * (scalars + 1))
        self._sections_max = max(1, storage.chunk_rows >> 4)
        self._rows_max = storage.chunk_rows
        self._scalars: list[tuple[int, ...]] = []
        self._pieces: list[list[AnyColumn]] = [[] for _ in dtypes]
        self._pieces_rows = 0

    def add(self, scalars: tuple[int, ...], *columns: AnyColumn) -> None:
        """Add one section; its columns are of equal length. Raises: what the storage raises when it
        has no room for them.
        """
        rows = len(columns[0])
        self._scalars.append((*scalars, rows))
        for kept, column, dtype in zip(self._pieces, columns, self._dtypes, strict=True):
            kept.append(column.astype(dtype, copy=False))
        self._pieces_rows += rows
        if self._pieces_rows >= self._rows_max or len(self._scalars) >= self._sections_max:
            self._join()

    def _join(self) -> None:
        """Join the pieces so far, which take a tenth of the memory then."""
        if not self._scalars:
            return
        # Order ids fill 64 bits. Their upper halves become negative here, and readers view them as
        # unsigned.
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
        """The number of rows gathered."""
        return self._rows.count + self._pieces_rows

    def table(self) -> Gathered:
        """Return everything gathered."""
        self._join()
        return _gathered(self._rows.columns(), self._sections.columns())

    def take(self) -> Gathered:
        """Return everything gathered, and forget it."""
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
        """Return the number of a text, always the same for the same text."""
        found = self._index.setdefault(text, len(self.texts))
        if found == len(self.texts):
            self.texts.append(text)
        return found
