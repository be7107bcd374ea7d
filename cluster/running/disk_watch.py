"""Watching the disk under the data directory, and healing NATS after the disk was full.

    ROOM --free < free_bytes_min--> SHORT --free >= twice that--> ROOM, NATS started again if full

While the disk is short, nothing new is taken: INGRESS refuses fills and marks at once, and shards
refuse commands. What is left of the disk is for what was taken before.

Once a write has failed, NATS fails every write until it is started again, even if there is room.
It leaves such a publish unanswered, so nothing is acknowledged and lost. Started again, it goes on
with all that it had acknowledged. A paper broker and Postgres end by themselves when they cannot
write, and are kept running.
"""

import asyncio
import contextlib
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from actors.backoff import Backoff
from actors.errors import OperatingError

_log = structlog.get_logger()

CHECK_S = 0.2
ROOM_AGAIN = 2
"""There is room again at this many times the least free space."""
FULL_BYTES = 16 << 20
"""Below this a write of the largest message, with what else is written, may have failed."""
RESTART_S_MIN = 1.0
RESTART_S_MAX = 60.0
STEADY_S = 120.0
"""After this long without a failed write, the next restart need not wait."""
HOLD_S_MAX = 1.0
"""A NATS that cannot write may not answer either; the disk is looked at again meanwhile."""
FAILED_TEXTS = (b"no space left on device", b"disk quota exceeded")
_READ_BYTES_MAX = 1 << 20


class FailedWrites:
    """The failed writes that a server tells of in its log from now on."""

    def __init__(self, log_path: Path) -> None:
        self._path = log_path
        self._offset = self._size()

    def found(self) -> bool:
        """Return whether a write has failed since the last call. Cost: what the log has grown by,
        of which the last MiB is read.
        """
        size = self._size()
        start, self._offset = max(min(self._offset, size), size - _READ_BYTES_MAX), size
        if start == size:
            return False
        with self._path.open("rb") as file:
            file.seek(start)
            news = file.read(size - start)
        return any(text in news for text in FAILED_TEXTS)

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0


class DiskWatch:
    """The watch over one data directory. `trouble` says in words what is wrong now, empty when
    nothing is.
    """

    def __init__(
        self,
        data: Path,
        free_bytes_min: int,
        *,
        has_failed: Callable[[], bool],
        restart: Callable[[], Awaitable[None]] | None,
        hold: Callable[[bool], Awaitable[None]],
        free_bytes: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free,
    ) -> None:
        """`has_failed` returns whether NATS has failed a write since it was asked last. `restart`
        starts NATS again; None for a NATS that others run. `hold` stops and resumes the taking of
        inputs, and raises OperatingError.
        """
        self.trouble = ""
        self._data = data
        self._free_bytes_min = free_bytes_min
        self._has_failed = has_failed
        self._restart = restart
        self._hold = hold
        self._is_held: bool | None = None
        self._free_bytes = free_bytes
        self._is_short = False
        self._must_restart = False
        self._backoff = Backoff(RESTART_S_MIN, RESTART_S_MAX)
        self._restarted_s = -STEADY_S
        self._not_before_s = 0.0

    async def run(self, tell: Callable[[str], Awaitable[None]]) -> None:
        """Watch until cancelled. `tell` gets the trouble as long as it lasts."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                if self.trouble:
                    await tell(self.trouble)
                if self.look(loop.time()):
                    await self.heal(loop.time())
                await self.hold()
            except Exception as error:  # noqa: BLE001
                # Whatever it is, the disk must be watched.
                _log.error(
                    "disk_check_failed", error=f"{type(error).__name__}: {error}", alarm=True
                )
                await asyncio.sleep(RESTART_S_MIN)
            await asyncio.sleep(CHECK_S)

    def look(self, now_s: float) -> bool:
        """Look at the disk and at NATS once. Returns: whether NATS must be started again now."""
        free = self._free_bytes(self._data)
        if self._has_failed() or free < min(FULL_BYTES, self._free_bytes_min):
            self._must_restart = True
        if self._is_short_with(free):
            return False
        if not self._must_restart:
            self.trouble = ""
            return False
        if not self.trouble:
            # The disk was full between two looks, or a quota or the count of files is used up.
            self._alarm("NATS fails to write though the disk has room; it is started again", free)
        return now_s >= self._not_before_s

    def _is_short_with(self, free: int) -> bool:
        limit = self._free_bytes_min * (ROOM_AGAIN if self._is_short else 1)
        was_short, self._is_short = self._is_short, free < limit
        if self._is_short and not was_short:
            self._alarm(
                f"expected {self._free_bytes_min} bytes free, found {free}; free at least "
                f"{self._free_bytes_min * ROOM_AGAIN}, and everything goes on by itself",
                free,
            )
        elif was_short and not self._is_short:
            _log.info("disk_has_room", path=str(self._data), free_bytes=free)
        return self._is_short

    def _alarm(self, text: str, free: int) -> None:
        self.trouble = f"disk_full: {self._data}: {text}"
        _log.error("disk_full", path=str(self._data), error=text, free_bytes=free, alarm=True)

    async def hold(self) -> None:
        """Stop or resume the taking of inputs, as the disk has it. A failure is tried again after
        the next look.
        """
        wanted = self._is_short
        if self._is_held is wanted:
            return
        with contextlib.suppress(OperatingError, TimeoutError):
            async with asyncio.timeout(HOLD_S_MAX):
                await self._hold(wanted)
            self._is_held = wanted

    async def heal(self, now_s: float) -> None:
        """Start NATS again; its next restart waits longer, unless this one lasts."""
        if now_s - self._restarted_s > STEADY_S:
            self._backoff.reset()
        self._restarted_s, self._not_before_s = now_s, now_s + self._backoff.next_s()
        if self._restart is None:
            text = "if it stores on the disk that was full, its operator must start it again"
            _log.error("nats_restart_needed", error=text, alarm=True)
        else:
            _log.warning("nats_restarting", reason="a write may have failed on a full disk")
            async with asyncio.timeout(RESTART_S_MAX):
                await self._restart()
            # What it told before it ended concerns it no more.
            self._has_failed()
        self._must_restart = False
