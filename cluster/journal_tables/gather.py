"""Sections gathered into columns: what stands once in a section is a column over sections, the rest a column over rows.

Each row knows its section, so a section's value is spread over its rows only when and as far as somebody needs it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Ints = NDArray[np.int64]
U64s = NDArray[np.uint64]
U32s = NDArray[np.uint32]
AnyColumn = NDArray[Any]


class Gatherer:
    """Gathers sections of one kind; `dtypes` are those of the row columns."""

    def __init__(self, scalars: int, dtypes: Sequence[DTypeLike]) -> None:
        self._scalars_count = scalars
        self._dtypes = [np.dtype(dtype) for dtype in dtypes]
        self._scalars: list[tuple[int, ...]] = []
        self._columns: list[list[AnyColumn]] = [[] for _ in dtypes]
        self._counts: list[int] = []
        self.rows_count = 0

    def add(self, scalars: tuple[int, ...], *columns: AnyColumn) -> None:
        """Add one section; its columns are of equal length."""
        self._scalars.append(scalars)
        for kept, column, dtype in zip(self._columns, columns, self._dtypes, strict=True):
            kept.append(column.astype(dtype, copy=False))
        self._counts.append(len(columns[0]))
        self.rows_count += len(columns[0])

    @property
    def sections_count(self) -> int:
        """How many sections are gathered."""
        return len(self._counts)

    def scalars(self) -> list[Ints]:
        """Name the columns over sections."""
        # Order ids fill 64 bits: their upper halves wrap here and are viewed as unsigned by whoever asks for them.
        rows = np.array([[_signed(value) for value in row] for row in self._scalars], np.int64)
        return list(np.ascontiguousarray(rows.reshape(-1, self._scalars_count).T))

    def columns(self) -> list[AnyColumn]:
        """Name the columns over rows."""
        return [
            np.concatenate(kept) if kept else np.zeros(0, dtype)
            for kept, dtype in zip(self._columns, self._dtypes, strict=True)
        ]

    def take_columns(self) -> list[AnyColumn]:
        """Name the columns over rows and forget their pieces, one column after the other, which takes hardly more memory."""
        columns = []
        for at, dtype in enumerate(self._dtypes):
            pieces, self._columns[at] = self._columns[at], []
            columns.append(np.concatenate(pieces) if pieces else np.zeros(0, dtype))
        return columns

    def counts(self) -> Ints:
        """Say how many rows each section has."""
        return np.array(self._counts, np.int64)

    def sections(self) -> U32s:
        """Say for each row which section it is of."""
        return np.repeat(np.arange(len(self._counts), dtype=np.uint32), self.counts())

    def clear(self) -> None:
        """Forget everything gathered."""
        self._scalars, self._counts, self.rows_count = [], [], 0
        self._columns = [[] for _ in self._dtypes]


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
