"""Columns that may outgrow memory: small ones are plain arrays, large ones are mapped files. The
kernel may drop a mapped file's pages and read them again.

The files have no names, so nothing is left behind however reading ends. A file's room is given back
with the last array that looks at it. Room is reserved before a file is mapped, so a full disk is an
error and never a signal.
"""

import errno
import mmap
import os
import shutil
import sys
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import DTypeLike

from actors.errors import DiskFullError, PermanentError
from engine.history.storage import CHUNK_ROWS, AnyColumn, HeldColumns

BYTES_IN_MEMORY = 16 << 20
BYTES_FREE_MIN = 1 << 30
"""This much stays free on the disk, on which a cluster may be running."""
_ALIGN = 64
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Spill:
    """A storage of columns that spills to files. Columns that are asked for at once lie in memory
    up to `bytes_in_memory`, beyond that in one file in a directory.

    `chunk_rows` is the number of rows that are read at once. Files leave `bytes_free_min` free on
    their disk. Each table of a large shard keeps one file open, about ten in all.
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
        """Return new columns of zeros. Raises: DiskFullError, PermanentError."""
        sizes = [count * np.dtype(dtype).itemsize for dtype in dtypes]
        if not self.is_large(sum(sizes)):
            return [np.zeros(count, dtype) for dtype in dtypes]
        offsets = np.cumsum([0, *(-(-size // _ALIGN) * _ALIGN for size in sizes)]).tolist()
        mapped = self._mapped(offsets[-1])
        return [
            np.frombuffer(mapped, dtype, count, offset)
            for dtype, offset in zip(dtypes, offsets[:-1], strict=True)
        ]

    def growing(self, dtypes: Sequence[DTypeLike]) -> "SpillingColumns":
        """Return new columns without rows."""
        return SpillingColumns(self, dtypes)

    def is_large(self, size: int) -> bool:
        """Return whether columns of so many bytes belong in a file."""
        return size > self.bytes_in_memory

    def file(self) -> IO[bytes]:
        """Open a file without a name, closed at the latest by `close`. Raises: DiskFullError,
        PermanentError.
        """
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
        """Use so much more of the disk. Raises: DiskFullError when it has less than that free,
        PermanentError when it cannot be used at all.
        """
        wanted = (
            f"{self._directory}: expected room for what outgrows memory, about 200 bytes per order,"
        )
        try:
            free = shutil.disk_usage(self._directory).free
            if free < size + self._bytes_free_min:
                raise DiskFullError(
                    f"{wanted} beside {self._bytes_free_min:,} bytes that stay free, "
                    f"found {free:,} bytes free; make room there"
                )
            yield
        except OSError as error:
            kind = DiskFullError if error.errno in _NO_ROOM else PermanentError
            raise kind(f"{wanted} found: {error.strerror}") from error

    def release(self) -> None:
        """Let go of the pages that were looked at; they stay in their files."""
        for mapped in self._maps:
            mapped.madvise(mmap.MADV_DONTNEED)


class SpillingColumns:
    """Columns of one length that grow piece by piece. Pieces that outgrow memory are written to a
    file on the way.
    """

    def __init__(self, spill: Spill, dtypes: Sequence[DTypeLike]) -> None:
        self._spill = spill
        self._dtypes = [np.dtype(dtype) for dtype in dtypes]
        self._held = HeldColumns(dtypes)
        self._begin()

    def _begin(self) -> None:
        self._written = 0
        self._file: IO[bytes] | None = None
        self._end = 0
        # Where each column's pieces stand in the file: offset and rows.
        self._places: list[list[tuple[int, int]]] = [[] for _ in self._dtypes]

    @property
    def count(self) -> int:
        """The number of rows so far."""
        return self._written + self._held.count

    def append(self, columns: Sequence[AnyColumn]) -> None:
        """Add rows. Raises: DiskFullError, PermanentError."""
        self._held.append(columns)
        if self._spill.is_large(self._held.nbytes):
            self._write()

    def _write(self) -> None:
        if self._file is None:
            self._file = self._spill.file()
        self._written += self._held.count
        for column, places in zip(self._held.take(), self._places, strict=True):
            places.append((self._end, len(column)))
            self._end += column.nbytes
            data = column.data.cast("B")
            with self._spill.room(column.nbytes):
                while data:
                    data = data[self._file.write(data) :]

    def columns(self) -> list[AnyColumn]:
        """Return the columns, each in one piece. Raises: DiskFullError, PermanentError."""
        return self._held.columns() if self._file is None else self._read(self._file)

    def _read(self, file: IO[bytes]) -> list[AnyColumn]:
        if self._held.count:
            self._write()
        columns = self._spill.columns(self._written, *self._dtypes)
        for column, places in zip(columns, self._places, strict=True):
            start = 0
            for offset, rows in places:
                file.seek(offset)
                rest = column[start : start + rows].data.cast("B")
                while rest:
                    rest = rest[file.readinto(rest) :]  # type: ignore[attr-defined]
                start += rows
                self._spill.release()
        file.seek(self._end)
        return columns

    def take(self) -> list[AnyColumn]:
        """Return the columns, each in one piece, and forget them. Raises: DiskFullError,
        PermanentError.
        """
        if self._file is None:
            return self._held.take()
        columns = self._read(self._file)
        self._file.close()
        self._begin()
        return columns
