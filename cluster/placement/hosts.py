"""Keeping hosts alive: every host of the placement plan runs, as one incarnation at a time.

    (none) --> STARTING --> RUNNING --ended, or silent for too long--> STARTING under a new name

A silent host is replaced without waiting for its end. Its process may only be stopped and go on
later; then the journal refuses what it writes. While NATS itself is away, no host is judged by its
silence.
"""

import asyncio
import itertools
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from actors.backoff import Backoff
from actors.host.host import HostSpec
from actors.shard.progress import HostAlarm, HostHeartbeat, ShardProgress
from actors.shard.recovery import Phase
from cluster.config.options import SupervisionOptions
from cluster.placement.failures import failure_of
from cluster.placement.plan import HostSlot, PlacementPlan, with_dedicated

_log = structlog.get_logger()

CHECK_S = 0.1
RECOVERY_PATIENCE = 5
"""A host may be silent this many times longer while it recovers."""
AWAY_S = 1.0
"""The longest pause between two checks after which silence still means anything."""


class HostHandle(Protocol):
    """A host whose start was asked for. Only `started` and `ended` wait for Ray, and the caller may
    give up both.
    """

    async def started(self) -> None:
        """Wait until a process has the host, or the host is over."""

    async def ended(self) -> str:
        """Wait until it has ended. Returns: why."""

    def ask_to_stop(self) -> None:
        """Ask the host to end."""

    def kill(self) -> None:
        """End the host's process."""


@dataclass(slots=True)
class KeptHost:
    """A host of the plan, and what is known of its present incarnation."""

    slot: HostSlot
    incarnation: str = ""
    handle: HostHandle | None = None
    heard_s: float = 0.0
    pid: int = 0
    restarts: int = 0
    error: str = ""
    phases: dict[str, str] = field(default_factory=dict)
    alarms: dict[str, int] = field(default_factory=dict)
    """The count of each alarm of the present incarnation that was logged here last."""

    @property
    def is_live(self) -> bool:
        """True once every shard of the present incarnation has said that it is live."""
        return len(self.phases) == len(self.slot.shards) and all(
            phase == "live" for phase in self.phases.values()
        )


class HostKeeper:
    """Starts, watches and replaces the hosts of a placement plan."""

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
        self.plan = PlacementPlan()
        self.hosts: list[KeptHost] = []

    def place(self, plan: PlacementPlan) -> None:
        """Run every host of a plan from now on. The plan must have the hosts of the plan before,
        unchanged: nothing moves their shards yet.
        """
        known = len(self.plan.slots)
        assert plan.slots[:known] == self.plan.slots, "a host that runs keeps its shards"
        self.plan = plan
        for slot in plan.slots[known:]:
            host = KeptHost(slot)
            self.hosts.append(host)
            if not self._is_suspended:
                self._begin(host)

    def _begin(self, host: KeptHost) -> None:
        self._tasks.append(asyncio.create_task(self._keep(host), name=f"keep {host.slot.name}"))

    # What is heard.

    def hear_host(self, progress: HostHeartbeat) -> None:
        """Take a host's heartbeat."""
        for host in self.hosts:
            if host.incarnation == progress.incarnation:
                host.heard_s, host.pid = time.monotonic(), progress.pid
                if progress.error != host.error and Phase.FAILED.value in progress.shards.values():
                    _log.error(
                        "shard_failed",
                        incarnation=progress.incarnation,
                        error=failure_of(progress.error, progress.pid),
                        alarm=True,
                    )
                host.error = progress.error
                self._tell_alarms(host, progress.alarms)
                if host.phases != progress.shards:
                    was_live, host.phases = host.is_live, dict(progress.shards)
                    if host.is_live and not was_live:
                        self._tell_live(host)
                    self._changed.set()

    def _tell_alarms(self, host: KeptHost, alarms: tuple[HostAlarm, ...]) -> None:
        """Log the alarms of a host here too: each name at first, then whenever its count has
        doubled.
        """
        for alarm in alarms:
            if alarm.count >= 2 * host.alarms.get(alarm.name, 0) and alarm.name != "shard_failed":
                host.alarms[alarm.name] = alarm.count
                _log.error(
                    "host_alarm",
                    incarnation=host.incarnation,
                    name=alarm.name,
                    count=alarm.count,
                    alarm=True,
                )

    def _tell_live(self, host: KeptHost) -> None:
        shards = ", ".join(map(str, host.slot.shards))
        live = sum(each.is_live for each in self.hosts)
        _log.info(
            "host_live",
            kind=host.slot.kind,
            shards=shards,
            pid=host.pid,
            live=live,
            of=len(self.hosts),
        )

    def hear_shard(self, progress: ShardProgress) -> None:
        """Learn from a shard's progress which accounts have shards of their own, and place
        those.
        """
        if progress.dedicated:
            self.place(with_dedicated(self.plan, progress.kind, progress.dedicated))

    async def wait_live(self) -> None:
        """Wait until every shard of every host is live."""
        while not all(host.is_live for host in self.hosts):
            self._changed.clear()
            await self._changed.wait()

    @property
    def pids(self) -> set[int]:
        """The process ids of the hosts that have been heard."""
        return {host.pid for host in self.hosts if host.pid}

    def stalled(self) -> str:
        """Return the name of a host that was started and never heard, empty when there is none. The
        fault is then its starter's rather than its own.
        """
        return self._never_heard

    # Keeping.

    async def suspend(self) -> None:
        """Start nothing until `resume`, and forget the present incarnations: their starter is
        broken and ends them.
        """
        self._is_suspended = True
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for host in self.hosts:
            host.incarnation, host.handle, host.pid, host.phases = "", None, 0, {}

    def resume(self) -> None:
        """Start every host again, as a new incarnation."""
        self._is_suspended = False
        self._never_heard = ""
        for host in self.hosts:
            host.restarts += 1
            self._begin(host)

    async def _keep(self, host: KeptHost) -> None:
        options = self._options
        backoff = Backoff(options.restart_ms_min / 1000, options.restart_ms_max / 1000)
        while True:
            began_s = time.monotonic()
            try:
                reason = await self._run_once(host)
            except Exception as error:  # noqa: BLE001
                # Whatever Ray says, the host must run.
                reason = f"{type(error).__name__}: {error}"
            _log.warning("host_ended", incarnation=host.incarnation, pid=host.pid, reason=reason)
            host.restarts += 1
            host.phases = {}
            if self._never_heard:
                # Its starter is broken and about to be ended; `resume` starts the host again.
                return
            if time.monotonic() - began_s > 10.0:
                backoff.reset()
            await asyncio.sleep(backoff.next_s())

    async def _run_once(self, host: KeptHost) -> str:
        """Run one incarnation. Returns: the reason of its end."""
        host.incarnation = f"{host.slot.name}-{self._token}-{next(self._numbers)}"
        host.pid, host.error, host.alarms = 0, "", {}
        host.heard_s = time.monotonic()
        spec = self._spec(host.slot.kind, host.slot.shards, host.incarnation)
        host.handle = handle = self._start(spec)
        try:
            async with asyncio.timeout(self._options.start_s_max):
                await handle.started()
        except TimeoutError:
            self._never_heard = host.incarnation
            raise
        ended = asyncio.create_task(handle.ended(), name=f"end of {host.incarnation}")
        try:
            while not ended.done():
                await asyncio.wait([ended], timeout=CHECK_S)
                if not ended.done() and self._is_silent(host):
                    if not host.pid:
                        self._never_heard = host.incarnation
                    handle.kill()
                    return f"no heartbeat for {time.monotonic() - host.heard_s:.1f} s"
            return ended.result()
        finally:
            ended.cancel()

    def _is_silent(self, host: KeptHost) -> bool:
        now_s = time.monotonic()
        # A supervisor that was stopped or starved itself has heard nobody meanwhile.
        was_away = now_s - self._checked_s > AWAY_S
        self._checked_s = now_s
        if was_away or not self._is_connected():
            self._connected_s = now_s
            return False
        # A host that has not been heard yet is still being started. A new connection to NATS gives
        # every host time to speak again.
        missing_s = self._options.heartbeat_missing_ms_max / 1000
        if not host.pid:
            missing_s = float(self._options.start_s_max)
        elif not host.is_live:
            # Its process is there and only gets few turns: beginning anew would cost more than
            # waiting.
            missing_s *= RECOVERY_PATIENCE
        return now_s - max(host.heard_s, self._connected_s) > missing_s

    async def stop(self) -> None:
        """Ask every host to end, wait for them, and kill those that are left."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        handles = [host.handle for host in self.hosts if host.handle is not None]
        # A host that was never heard has nothing to finish.
        heard = [host.handle for host in self.hosts if host.handle is not None and host.pid]
        for handle in heard:
            handle.ask_to_stop()
        endings = [asyncio.ensure_future(handle.ended()) for handle in heard]
        if endings:
            await asyncio.wait(endings, timeout=self._options.stop_s_max)
        for handle in handles:
            handle.kill()
        for ending in endings:
            ending.cancel()
