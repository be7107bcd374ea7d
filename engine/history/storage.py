"""Where the columns of a history are kept: in memory here, in files by `gateways.spill`.

A history may hold more rows than memory has room for. So whoever goes over long columns does it in
`slices`, and asks a `ColumnStorage` for every column as long as the history.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

AnyColumn = NDArray[Any]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
U64s = NDArray[np.uint64]
U32s = NDArray[np.uint32]

CHUNK_ROWS = 1 << 18


class GrowingColumns(Protocol):
    """Columns of one length that grow piece by piece."""

    @property
    def count(self) -> int:
        """The number of rows so far."""
        ...

    def append(self, columns: Sequence[AnyColumn]) -> None:
        """Add rows. Raises: what the storage raises when it has no room for them."""
        ...

    def columns(self) -> list[AnyColumn]:
        """Return the columns, each in one piece."""
        ...

    def take(self) -> list[AnyColumn]:
        """Return the columns, each in one piece, and forget them."""
        ...


class ColumnStorage(Protocol):
    """Keeps columns. Every method that makes one raises when there is no room for it."""

    @property
    def chunk_rows(self) -> int:
        """The number of rows that are read at once."""
        ...

    def columns(self, count: int, *dtypes: DTypeLike) -> list[AnyColumn]:
        """Return new columns of zeros that are kept in one place."""
        ...

    def growing(self, dtypes: Sequence[DTypeLike]) -> GrowingColumns:
        """Return new columns without rows."""
        ...

    def is_large(self, size: int) -> bool:
        """Return whether columns of so many bytes do not belong in memory."""
        ...

    def release(self) -> None:
        """Give back the memory of columns that are kept elsewhere too."""
        ...


class HeldColumns:
    """Growing columns in memory. They are joined only when somebody asks for them."""

    def __init__(self, dtypes: Sequence[DTypeLike]) -> None:
        self._dtypes = [np.dtype(dtype) for dtype in dtypes]
        self._pieces: list[list[AnyColumn]] = [[] for _ in self._dtypes]
        self._count = 0
        self._bytes = 0

    @property
    def count(self) -> int:
        """The number of rows so far."""
        return self._count

    @property
    def nbytes(self) -> int:
        """The memory that the rows take."""
        return self._bytes

    def append(self, columns: Sequence[AnyColumn]) -> None:
        """Add rows."""
        self._count += len(columns[0])
        for pieces, column, dtype in zip(self._pieces, columns, self._dtypes, strict=True):
            pieces.append(column.astype(dtype, copy=False))
            self._bytes += pieces[-1].nbytes

    def columns(self) -> list[AnyColumn]:
        """Return the columns, each in one piece."""
        return [_joined(*each) for each in zip(self._pieces, self._dtypes, strict=True)]

    def take(self) -> list[AnyColumn]:
        """Return the columns, each in one piece, and forget them.

        Cost: the memory of one column more, because each one's pieces go as soon as they are
        joined.
        """
        taken = []
        for at, dtype in enumerate(self._dtypes):
            pieces, self._pieces[at] = self._pieces[at], []
            taken.append(_joined(pieces, dtype))
        self._count = self._bytes = 0
        return taken


def _joined(pieces: list[AnyColumn], dtype: DTypeLike) -> AnyColumn:
    return np.concatenate(pieces) if pieces else np.zeros(0, dtype)


class MemoryStorage:
    """Keeps every column in memory."""

    chunk_rows = CHUNK_ROWS

    def columns(self, count: int, *dtypes: DTypeLike) -> list[AnyColumn]:
        """Return new columns of zeros."""
        return [np.zeros(count, dtype) for dtype in dtypes]

    def growing(self, dtypes: Sequence[DTypeLike]) -> HeldColumns:
        """Return new columns without rows."""
        return HeldColumns(dtypes)

    def is_large(self, size: int) -> bool:
        """Return False: everything belongs in memory."""
        return False

    def release(self) -> None:
        """Do nothing: no column is kept elsewhere."""


IN_MEMORY = MemoryStorage()
"""For histories small enough to be held."""


def slices(storage: ColumnStorage, count: int) -> Iterator[slice]:
    """Go over rows chunk by chunk, and release each whole chunk after use."""
    for start in range(0, count, storage.chunk_rows):
        yield slice(start, min(start + storage.chunk_rows, count))
        if start + storage.chunk_rows <= count:
            storage.release()


def rows_where(storage: ColumnStorage, count: int, is_wanted: Callable[[slice], Bools]) -> Ints:
    """Return the rows for which `is_wanted`, asked chunk by chunk, is true."""
    found = [np.flatnonzero(is_wanted(here)) + here.start for here in slices(storage, count)]
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def filled_column(
    storage: ColumnStorage, count: int, dtype: DTypeLike, values: Callable[[slice], ArrayLike]
) -> AnyColumn:
    """Return a new column with the values that `values` gives for each chunk."""
    (column,) = storage.columns(count, dtype)
    for here in slices(storage, count):
        column[here] = values(here)
    return column
