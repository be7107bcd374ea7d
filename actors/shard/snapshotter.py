"""Snapshots of a shard's state, taken while the shard goes on.

The state at one frame is copied in slices of a millisecond. It is joined and hashed in a thread and
handed to the `Snapshots` port, which stores it at its own pace.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable

import structlog

from actors.counters import Counters
from actors.errors import OperatingError
from actors.ports import Snapshot, Snapshots
from actors.shard.committer import Committer
from engine.columns.state import AnyColumn, state_digest
from engine.columns.state_copy import StateCopy

_log = structlog.get_logger()

CHUNK_BYTES = 1 << 20
SLICE_S = 0.001
"""The length of a slice of copying. A longer one delays the signals that arrive meanwhile
(`recovery`).
"""
REST_S = 0.004
"""The pause after a slice, for everything else on the loop."""
RESTS = 2
"""The next snapshot waits at least this many times as long as the last one took, saved or not. So a
large state is not copied all the time.
"""


FAILURES_ALARMED = 3
"""The number of saves that must fail in a row before an alarm is raised: a database that is started
again fails fewer.
"""


class Snapshotter:
    """Saves a shard's state every so many frames or seconds, one at a time."""

    def __init__(
        self,
        snapshots: Snapshots,
        copy: Callable[[], StateCopy],
        *,
        frames_every: int,
        seconds_every: float,
        counts: Counters | None = None,
    ) -> None:
        self._snapshots = snapshots
        self._copy = copy
        self._frames_every = frames_every
        self._seconds_every = seconds_every
        self._counts = counts or Counters()
        self._failures = 0
        self._saving: asyncio.Task[None] | None = None
        self._last_number = 0
        self._last_s = time.monotonic()
        self._rests_until_s = 0.0
        self._is_closing = False
        self.saved = 0

    def begin(self, number: int) -> None:
        """Count from the frame whose snapshot the state was recovered from."""
        self._last_number = number

    def is_due(self, committer: Committer, now_s: float) -> bool:
        """Return whether a snapshot should be taken as soon as nothing is in flight."""
        if self._saving is not None and self._saving.done():
            self._saving = None
        if self._saving is not None or now_s < self._rests_until_s:
            return False
        frames = committer.durable_number - self._last_number
        return frames >= self._frames_every or (
            frames > 0 and now_s - self._last_s >= self._seconds_every
        )

    def take(self, committer: Committer, now_s: float) -> None:
        """Copy the state as it is, all of it durable, and save it in the background."""
        assert committer.is_idle
        self._last_number, self._last_s = committer.durable_number, now_s
        writer = committer.writer
        place = Snapshot(
            writer.key,
            writer.epoch,
            committer.durable_number,
            committer.durable_sequence,
            committer.durable_hash,
            b"",
            (),
        )
        self._saving = asyncio.create_task(
            self._save(self._copy(), place), name=f"snapshot {writer.key}"
        )

    async def _save(self, copy: StateCopy, place: Snapshot) -> None:
        began_s = time.monotonic()
        digest, size = state_digest(), 0

        async def chunks() -> AsyncIterator[bytes]:
            nonlocal size
            async for pieces in self._gathered(copy):
                chunk = await asyncio.to_thread(_chunk, pieces, digest.update)
                size += len(chunk)
                yield chunk

        try:
            is_saved = await self._snapshots.save(place, chunks(), digest.digest)
        except OperatingError as error:
            self._failed()
            alarm = {"alarm": True} if self._failures >= FAILURES_ALARMED else {}
            _log.log(
                logging.ERROR if alarm else logging.WARNING,
                "snapshot_not_saved",
                shard=str(place.key),
                error=str(error),
                failures=self._failures,
                **alarm,
            )
            return
        except Exception:  # noqa: BLE001
            # The fault is here, not in the database. The shard goes on: its journal holds
            # everything.
            self._failed()
            _log.exception("snapshot_failed", shard=str(place.key), alarm=True)
            return
        finally:
            copy.close()
            took_s = time.monotonic() - began_s
            self._rests_until_s = began_s + (1 + RESTS) * took_s
        self.saved += is_saved
        self._failures = self._counts.snapshots_failing = 0
        _log.info(
            "snapshot_saved" if is_saved else "snapshot_overtaken",
            shard=str(place.key),
            number=place.number,
            bytes=size,
            took_s=round(took_s, 3),
        )

    def _failed(self) -> None:
        self._failures += 1
        self._counts.snapshots_failing = self._failures

    async def _gathered(self, copy: StateCopy) -> AsyncIterator[list[bytes | memoryview]]:
        """Gather the pieces of a copy into chunks, with a pause after each slice of time."""
        gathered: list[bytes | memoryview] = []
        size, until_s = 0, time.monotonic() + SLICE_S
        for piece in copy.pieces():
            for part in _parts(piece):
                gathered.append(part)
                size += len(part)
                if size >= CHUNK_BYTES:
                    yield gathered
                    gathered, size = [], 0
            if time.monotonic() >= until_s:
                await asyncio.sleep(0 if self._is_closing else REST_S)
                until_s = time.monotonic() + SLICE_S
        if gathered:
            yield gathered

    def give_up(self) -> None:
        """Break off the snapshot being saved."""
        if self._saving is not None:
            self._saving.cancel()

    async def close(self) -> None:
        """Wait for the snapshot being saved."""
        self._is_closing = True
        if self._saving is not None:
            await asyncio.gather(self._saving, return_exceptions=True)


def _parts(piece: bytes | AnyColumn) -> list[bytes | memoryview]:
    """Split a piece that is larger than a chunk: every thread waits while bytes are joined."""
    if isinstance(piece, bytes):
        return [piece] if piece else []
    data = piece.data.cast("B") if piece.size else memoryview(b"")
    return [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)]


def _chunk(pieces: list[bytes | memoryview], update: Callable[[bytes], None]) -> bytes:
    chunk = b"".join(pieces)
    update(chunk)
    return chunk
