"""Columns that may outgrow memory: small ones are plain arrays, large ones mapped files, whose
pages the kernel may drop and read again.

A file has no name, so nothing is left behind however reading ends, and its room is given back with
the last array that looks at it. Room is reserved before a file is mapped: a full disk is an error
then, never a signal. Whoever goes over large columns does so in `slices`.
"""

import mmap
import os
import shutil
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from cluster.errors import ClusterError

AnyColumn = NDArray[Any]
Bools = NDArray[np.bool_]

BYTES_IN_MEMORY = 16 << 20
CHUNK_ROWS = 1 << 18
BYTES_FREE_MIN = 1 << 30
"""Left on the disk, on which a cluster may be running."""
_ALIGN = 64


class Spill:
    """Where columns are kept. Those asked for together lie in memory up to `bytes_in_memory`,
    beyond that in one file in a directory.

    `chunk_rows` is how many rows are looked at at once. Files leave `bytes_free_min` free on their
    disk. Each table of a large shard keeps one open, some ten in all.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        bytes_in_memory: int = BYTES_IN_MEMORY,
        chunk_rows: int = CHUNK_ROWS,
        bytes_free_min: int = BYTES_FREE_MIN,
    ) -> None:
        """Keep files in a directory, else where the system keeps temporary ones."""
        self.bytes_in_memory = bytes_in_memory
        self.chunk_rows = chunk_rows
        self._bytes_free_min = bytes_free_min
        self._directory = directory or Path(tempfile.gettempdir())
        self._maps: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()
        self._files = ExitStack()

    def close(self) -> None:
        """Close the files that nobody will read any more; columns made so far stay usable."""
        self._files.close()

    def columns(self, count: int, *dtypes: DTypeLike) -> list[AnyColumn]:
        """Make columns of zeros. Raises: ClusterError when the disk has no room for them."""
        sizes = [count * np.dtype(dtype).itemsize for dtype in dtypes]
        if not self.is_large(sum(sizes)):
            return [np.zeros(count, dtype) for dtype in dtypes]
        offsets = np.cumsum([0, *(-(-size // _ALIGN) * _ALIGN for size in sizes)]).tolist()
        mapped = self._mapped(offsets[-1])
        return [
            np.frombuffer(mapped, dtype, count, offset)
            for dtype, offset in zip(dtypes, offsets[:-1], strict=True)
        ]

    def is_large(self, size: int) -> bool:
        """Say whether columns of so many bytes belong in a file."""
        return size > self.bytes_in_memory

    def file(self) -> IO[bytes]:
        """Open a file without a name, closed at the latest by `close`. Raises: ClusterError."""
        with self.room(0):
            return self._files.enter_context(
                tempfile.TemporaryFile(dir=self._directory, buffering=0)
            )

    def _mapped(self, size: int) -> mmap.mmap:
        with self.file() as file, self.room(size):
            if sys.platform == "linux":
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                os.ftruncate(file.fileno(), size)
            mapped = mmap.mmap(file.fileno(), size)
        self._maps.add(mapped)
        return mapped

    @contextmanager
    def room(self, size: int) -> Iterator[None]:
        """Use so much more of the disk. Raises: ClusterError when it has not got that."""
        wanted = (
            f"{self._directory}: expected room for what outgrows memory, some 200 bytes an order,"
        )
        try:
            free = shutil.disk_usage(self._directory).free
            if free < size + self._bytes_free_min:
                raise ClusterError(
                    f"{wanted} beside {self._bytes_free_min:,} bytes that stay free, "
                    f"found {free:,} bytes free; make room there"
                )
            yield
        except OSError as error:
            raise ClusterError(f"{wanted} found: {error.strerror}") from error

    def release(self) -> None:
        """Let go of the pages that were looked at; they stay in their files."""
        for mapped in self._maps:
            mapped.madvise(mmap.MADV_DONTNEED)

    def slices(self, count: int) -> Iterator[slice]:
        """Go over rows piece by piece, letting go of each whole piece."""
        for start in range(0, count, self.chunk_rows):
            yield slice(start, min(start + self.chunk_rows, count))
            if start + self.chunk_rows <= count:
                self.release()

    def where(self, count: int, is_wanted: Callable[[slice], Bools]) -> NDArray[np.int64]:
        """Name the rows that are wanted, asked for piece by piece."""
        found = [np.flatnonzero(is_wanted(here)) + here.start for here in self.slices(count)]
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    def filled(
        self, count: int, dtype: DTypeLike, values: Callable[[slice], ArrayLike]
    ) -> AnyColumn:
        """Make one column, its values told piece by piece."""
        (column,) = self.columns(count, dtype)
        for here in self.slices(count):
            column[here] = values(here)
        return column


IN_MEMORY = Spill(bytes_in_memory=1 << 62)
"""For tables small enough to be held."""


class GrowingColumns:
    """Columns of one length that grow piece by piece; what outgrows memory is written to a file on
    the way.
    """

    def __init__(self, spill: Spill, dtypes: Sequence[DTypeLike]) -> None:
        self._spill = spill
        self._dtypes = [np.dtype(dtype) for dtype in dtypes]
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.count = 0
        self._held: list[list[AnyColumn]] = [[] for _ in self._dtypes]
        self._held_bytes = 0
        self._file: IO[bytes] | None = None
        self._end = 0
        self._runs: list[list[tuple[int, int]]] = [[] for _ in self._dtypes]

    def append(self, columns: Sequence[AnyColumn]) -> None:
        """Add rows. Raises: ClusterError when the disk has no room for them."""
        self.count += len(columns[0])
        for held, column, dtype in zip(self._held, columns, self._dtypes, strict=True):
            held.append(column.astype(dtype, copy=False))
            self._held_bytes += held[-1].nbytes
        if self._spill.is_large(self._held_bytes):
            self._write()

    def _write(self) -> None:
        if self._file is None:
            self._file = self._spill.file()
        for held, runs in zip(self._held, self._runs, strict=True):
            column = np.concatenate(held)
            held.clear()
            runs.append((self._end, len(column)))
            self._end += column.nbytes
            data = column.data.cast("B")
            with self._spill.room(column.nbytes):
                while data:
                    data = data[self._file.write(data) :]
        self._held_bytes = 0

    def columns(self) -> list[AnyColumn]:
        """Name the columns, each in one piece. Raises: ClusterError."""
        if self._file is None:
            return [
                np.concatenate(held) if held else np.zeros(0, dtype)
                for held, dtype in zip(self._held, self._dtypes, strict=True)
            ]
        return self._read(self._file)

    def _read(self, file: IO[bytes]) -> list[AnyColumn]:
        if self._held_bytes:
            self._write()
        columns = self._spill.columns(self.count, *self._dtypes)
        for column, runs in zip(columns, self._runs, strict=True):
            place = 0
            for offset, rows in runs:
                file.seek(offset)
                rest = column[place : place + rows].data.cast("B")
                while rest:
                    rest = rest[file.readinto(rest) :]  # type: ignore[attr-defined]
                place += rows
                self._spill.release()
        file.seek(self._end)
        return columns

    def take(self) -> list[AnyColumn]:
        """Name the columns and forget them, one after the other where they are in memory, which
        takes hardly more of it.
        """
        columns = []
        if self._file is not None:
            columns = self._read(self._file)
            self._file.close()
        else:
            for at, dtype in enumerate(self._dtypes):
                held, self._held[at] = self._held[at], []
                columns.append(np.concatenate(held) if held else np.zeros(0, dtype))
        self.clear()
        return columns
