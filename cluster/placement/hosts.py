"""Keeping hosts alive: one slot for each host that should run, each holding one incarnation at a
time.

    (empty) -> STARTING -> RUNNING -> (ended, or silent for too long) -> STARTING under a new name

A silent host is replaced without waiting for its end: it may be stopped and go on later, and then
the journal refuses it. While NATS itself is away nobody is judged by silence.
"""

import asyncio
import itertools
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from actors.host.host import HostSpec
from actors.shard.progress import HostHeartbeat, ShardProgress
from actors.shard.recovery import Phase
from cluster.config.options import SupervisionOptions

_log = structlog.get_logger()

CHECK_S = 0.1
RECOVERY_PATIENCE = 5
"""How many times longer a host may be silent while it recovers."""
AWAY_S = 1.0
"""The longest pause between two checks after which silence still means anything."""


def failure_of(error: str, pid: int) -> str:
    """Say why a shard of a host failed and what to do."""
    return (
        f"{error}; it stays stopped while the others go on: mend that, then end "
        f"process {pid}, and its shards are started again"
    )


class HostHandle(Protocol):
    """A host whose start was asked for. Nothing here waits for Ray but `started` and `ended`, which
    both may be given up.
    """

    async def started(self) -> None:
        """Wait until it is placed, or over."""

    async def ended(self) -> str:
        """Wait until it has ended. Returns: why."""

    def ask_to_stop(self) -> None:
        """Ask it to end."""

    def kill(self) -> None:
        """Have it ended."""


@dataclass(slots=True)
class Slot:
    """One host that should run: which shards, and what is known of its present incarnation."""

    kind: str
    shards: tuple[int, ...]
    incarnation: str = ""
    handle: HostHandle | None = None
    started_s: float = 0.0
    heard_s: float = 0.0
    pid: int = 0
    restarts: int = 0
    error: str = ""
    phases: dict[str, str] = field(default_factory=dict)

    @property
    def is_live(self) -> bool:
        """Whether every shard of the present incarnation said that it is live."""
        return len(self.phases) == len(self.shards) and all(
            phase == "live" for phase in self.phases.values()
        )


class HostKeeper:
    """Starts, watches and replaces the hosts of a cluster."""

    def __init__(
        self,
        start: Callable[[HostSpec], HostHandle],
        spec: Callable[[str, tuple[int, ...], str], HostSpec],
        options: SupervisionOptions,
        *,
        is_connected: Callable[[], bool],
    ) -> None:
        self._start = start
        self._spec = spec
        self._options = options
        self._is_connected = is_connected
        self._numbers = itertools.count(1)
        self._token = secrets.token_hex(3)
        self._connected_s = self._checked_s = time.monotonic()
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()
        self._is_suspended = False
        self._never_heard = ""
        self.slots: list[Slot] = []

    def add(self, kind: str, shards: tuple[int, ...]) -> None:
        """Have a host run from now on."""
        slot = Slot(kind, shards)
        self.slots.append(slot)
        if not self._is_suspended:
            self._begin(slot)

    def _begin(self, slot: Slot) -> None:
        self._tasks.append(
            asyncio.create_task(self._keep(slot), name=f"keep {slot.kind} {slot.shards}")
        )

    # What is heard.

    def hear_host(self, progress: HostHeartbeat) -> None:
        """Take a host's heartbeat."""
        for slot in self.slots:
            if slot.incarnation == progress.incarnation:
                slot.heard_s, slot.pid = time.monotonic(), progress.pid
                if progress.error != slot.error and Phase.FAILED.value in progress.shards.values():
                    _log.error(
                        "shard_failed",
                        incarnation=progress.incarnation,
                        error=failure_of(progress.error, progress.pid),
                        alarm=True,
                    )
                slot.error = progress.error
                if slot.phases != progress.shards:
                    was_live, slot.phases = slot.is_live, dict(progress.shards)
                    if slot.is_live and not was_live:
                        self._tell_live(slot)
                    self._changed.set()

    def _tell_live(self, slot: Slot) -> None:
        shards = ", ".join(map(str, slot.shards))
        live = sum(each.is_live for each in self.slots)
        _log.info(
            "host_live", kind=slot.kind, shards=shards, pid=slot.pid, live=live, of=len(self.slots)
        )

    def hear_shard(self, progress: ShardProgress) -> None:
        """Learn from a follower shard which accounts have shards of their own."""
        known = {shard for slot in self.slots if slot.kind == "follower" for shard in slot.shards}
        for shard in progress.dedicated:
            if shard not in known:
                self.add("follower", (shard,))

    async def wait_live(self) -> None:
        """Wait until every shard of every host is live."""
        while not all(slot.is_live for slot in self.slots):
            self._changed.clear()
            await self._changed.wait()

    @property
    def pids(self) -> set[int]:
        """The process ids of the hosts that were heard."""
        return {slot.pid for slot in self.slots if slot.pid}

    def stalled(self) -> str:
        """Name a host that was started and never heard of, which is its starter's fault rather than
        its own; empty when there is none.
        """
        return self._never_heard

    # Keeping.

    async def suspend(self) -> None:
        """Start nothing until `resume`, and forget the present hosts: their starter is broken and
        they are being ended.
        """
        self._is_suspended = True
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for slot in self.slots:
            slot.incarnation, slot.handle, slot.pid, slot.phases = "", None, 0, {}

    def resume(self) -> None:
        """Fill every slot again, under new incarnations."""
        self._is_suspended = False
        self._never_heard = ""
        for slot in self.slots:
            slot.restarts += 1
            self._begin(slot)

    async def _keep(self, slot: Slot) -> None:
        pause_s = self._options.restart_ms_min / 1000
        while True:
            began_s = time.monotonic()
            try:
                reason = await self._run_once(slot)
            except Exception as error:  # noqa: BLE001
                # Whatever Ray says, the slot stays to be filled.
                reason = f"{type(error).__name__}: {error}"
            _log.warning("host_ended", incarnation=slot.incarnation, pid=slot.pid, reason=reason)
            slot.restarts += 1
            slot.phases = {}
            if self._never_heard:
                # Its starter is broken and about to be ended; `resume` fills the slot again.
                return
            if time.monotonic() - began_s > 10.0:
                pause_s = self._options.restart_ms_min / 1000
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, self._options.restart_ms_max / 1000)

    async def _run_once(self, slot: Slot) -> str:
        """Run one incarnation. Returns: why it is over."""
        slot.incarnation = f"{slot.kind}-{slot.shards[0]}-{self._token}-{next(self._numbers)}"
        slot.pid, slot.error = 0, ""
        slot.started_s = slot.heard_s = time.monotonic()
        spec = self._spec(slot.kind, slot.shards, slot.incarnation)
        slot.handle = handle = self._start(spec)
        try:
            async with asyncio.timeout(self._options.start_s_max):
                await handle.started()
        except TimeoutError:
            self._never_heard = slot.incarnation
            raise
        ended = asyncio.create_task(handle.ended(), name=f"end of {slot.incarnation}")
        try:
            while not ended.done():
                await asyncio.wait([ended], timeout=CHECK_S)
                if not ended.done() and self._is_silent(slot):
                    if not slot.pid:
                        self._never_heard = slot.incarnation
                    handle.kill()
                    return f"no heartbeat for {time.monotonic() - slot.heard_s:.1f} s"
            return ended.result()
        finally:
            ended.cancel()

    def _is_silent(self, slot: Slot) -> bool:
        now_s = time.monotonic()
        # Whoever was stopped or starved itself has heard nobody meanwhile.
        was_away = now_s - self._checked_s > AWAY_S
        self._checked_s = now_s
        if was_away or not self._is_connected():
            self._connected_s = now_s
            return False
        # A host that has not been heard yet is still being started; a new connection to NATS gives
        # everyone time to speak again.
        missing_s = self._options.heartbeat_missing_ms_max / 1000
        if not slot.pid:
            missing_s = float(self._options.start_s_max)
        elif not slot.is_live:
            # Beginning anew would cost more than waiting: its process is there, it only gets few
            # turns.
            missing_s *= RECOVERY_PATIENCE
        return now_s - max(slot.heard_s, self._connected_s) > missing_s

    async def stop(self) -> None:
        """Ask every host to end, wait for them, kill what is left."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        handles = [slot.handle for slot in self.slots if slot.handle is not None]
        # One that was never heard has nothing to finish.
        heard = [slot.handle for slot in self.slots if slot.handle is not None and slot.pid]
        for handle in heard:
            handle.ask_to_stop()
        endings = [asyncio.ensure_future(handle.ended()) for handle in heard]
        if endings:
            await asyncio.wait(endings, timeout=self._options.stop_s_max)
        for handle in handles:
            handle.kill()
        for ending in endings:
            ending.cancel()
