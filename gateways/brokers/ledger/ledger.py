"""The ledger's file: append-only, owned by one process, synced before the program says anything.

An append is one write and one fdatasync per frame. A process that dies while it writes leaves a
torn last frame. Opening the file truncates it: nothing in it was ever answered. A bad frame with a
good one behind it is damage, and the ledger refuses to open. A last frame of full length with a
wrong CRC, as a power failure leaves it, counts as torn. A failed append ends the process, for its
memory is then ahead of the disk.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from gateways.brokers.ledger.records import (
    FRAME_HEADER,
    MAGIC,
    PAYLOAD_BYTES_MAX,
    RECORD_HEADER,
    LedgerError,
    Record,
    checksum,
)

FILE_NAME = "ledger"
LOCK_NAME = "ledger.lock"
_SEARCH_BYTES = 4 << 20
_LOCK_POLL_S = 0.05


class LedgerFrame(NamedTuple):
    """A whole frame: its offset, its number, its records' bytes."""

    offset: int
    number: int
    payload: memoryview

    @property
    def end(self) -> int:
        return self.offset + FRAME_HEADER.size + len(self.payload)


class Readable(Protocol):
    """Bytes that can be read at any offset."""

    def read(self, offset: int, length: int) -> bytes: ...

    def size(self) -> int: ...


class Ledger(Readable, Protocol):
    """The part of a ledger that a broker program needs."""

    end: int
    next_number: int

    def replay(self) -> Iterator[LedgerFrame]: ...

    def append(self, frame: bytes) -> None: ...

    def close(self) -> None: ...


def frame_at(source: Readable, offset: int) -> LedgerFrame | None:
    """Return the frame at an offset, None when there is no whole one."""
    header = source.read(offset, FRAME_HEADER.size)
    if len(header) < FRAME_HEADER.size:
        return None
    magic, length, crc, number = FRAME_HEADER.unpack(header)
    if (
        magic != MAGIC
        or length > PAYLOAD_BYTES_MAX
        or offset + FRAME_HEADER.size + length > source.size()
    ):
        return None
    payload = source.read(offset + FRAME_HEADER.size, length)
    if len(payload) < length or checksum(number, payload) != crc:
        return None
    return LedgerFrame(offset, number, memoryview(payload))


def record_at(source: Readable, offset: int) -> Record:
    """Return the record whose header is at an offset that a `FrameDraft` gave out."""
    tag, _, length = RECORD_HEADER.unpack(source.read(offset, RECORD_HEADER.size))
    return Record(tag, offset, memoryview(source.read(offset + RECORD_HEADER.size, length)))


def walk_frames(source: Readable, offset: int = 0, number: int = 1) -> Iterator[LedgerFrame]:
    """Yield whole frames in order until there is none. Raises: LedgerError when the numbers do not
    follow each other.
    """
    while (frame := frame_at(source, offset)) is not None:
        if frame.number != number:
            raise LedgerError(
                f"ledger: expected frame {number} at offset {offset}, found {frame.number}"
            )
        yield frame
        offset, number = frame.end, number + 1


def check_torn(source: Readable, offset: int) -> None:
    """Check that no whole frame stands behind the bad one at an offset. Raises: LedgerError."""
    place, kept = offset + 1, b""
    while place < source.size():
        chunk = kept + source.read(place, _SEARCH_BYTES)
        base = place - len(kept)
        found = chunk.find(MAGIC)
        while found >= 0:
            if frame_at(source, base + found) is not None:
                raise LedgerError(
                    f"ledger: expected a whole frame at offset {offset}, found damage "
                    f"with a good frame behind it at {base + found}; "
                    "restore the file from a copy, do not cut it"
                )
            found = chunk.find(MAGIC, found + 1)
        place += _SEARCH_BYTES
        kept = chunk[-(len(MAGIC) - 1) :]


class FileLedger:
    """The ledger in a directory, locked for this process."""

    def __init__(self, directory: Path, *, lock_wait_s: float = 0.0) -> None:
        """Open or create it. Raises: LedgerError when another process holds it or the directory
        cannot be used.
        """
        self.end = 0
        self.next_number = 1
        self.torn_bytes = 0
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(
                directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
            _lock(self._lock, directory, lock_wait_s)
            self._file = os.open(
                directory / FILE_NAME, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
            )
            _sync_directory(directory)
        except OSError as error:
            raise LedgerError(
                f"ledger {directory}: expected a directory to write in, found {error.strerror}"
            ) from error

    def read(self, offset: int, length: int) -> bytes:
        return os.pread(self._file, length, offset)

    def size(self) -> int:
        return os.fstat(self._file).st_size

    def replay(self) -> Iterator[LedgerFrame]:
        """Yield every frame, then truncate a torn tail; appending is allowed afterwards. Raises:
        LedgerError on damage.
        """
        for frame in walk_frames(self):
            yield frame
            self.end, self.next_number = frame.end, frame.number + 1
        self.torn_bytes = self.size() - self.end
        if self.torn_bytes:
            check_torn(self, self.end)
            os.ftruncate(self._file, self.end)
            os.fsync(self._file)

    def append(self, frame: bytes) -> None:
        """Write one frame and wait until it is on disk. Raises: LedgerError, after which the
        process must end.
        """
        view = memoryview(frame)
        try:
            while view:
                view = view[os.write(self._file, view) :]
            os.fdatasync(self._file)
        except OSError as error:
            raise LedgerError(
                f"ledger: expected to write {len(frame)} bytes at "
                f"{self.end}, found {error.strerror}"
            ) from error
        self.end += len(frame)
        self.next_number += 1

    def close(self) -> None:
        """Release the file and the lock."""
        os.close(self._file)
        os.close(self._lock)


class MemoryLedger:
    """The same in memory. `data` may be truncated anywhere and replayed by another one."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)
        self.end = 0
        self.next_number = 1

    def read(self, offset: int, length: int) -> bytes:
        return bytes(self.data[offset : offset + length])

    def size(self) -> int:
        return len(self.data)

    def replay(self) -> Iterator[LedgerFrame]:
        for frame in walk_frames(self):
            yield frame
            self.end, self.next_number = frame.end, frame.number + 1
        if self.end < len(self.data):
            check_torn(self, self.end)
            del self.data[self.end :]

    def append(self, frame: bytes) -> None:
        self.data += frame
        self.end += len(frame)
        self.next_number += 1

    def close(self) -> None:
        """Do nothing: memory has no file and no lock."""


def _lock(descriptor: int, directory: Path, wait_s: float) -> None:
    until = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() < until:
                time.sleep(_LOCK_POLL_S)
                continue
            owner = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            raise LedgerError(
                f"ledger {directory}: expected no other owner, found process "
                f"{owner} holding the lock; stop that process first"
            ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
