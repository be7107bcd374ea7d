"""Keeping the local Ray running, and every process of it written down.

Ray restarts none of its own processes. Without its raylet it can start no host. Without its global
store all of Ray ends within a minute, its driver included.

So the keeper ends the whole of Ray and starts it anew when one of these is gone, or when a host was
started and never heard. All hosts come back as new incarnations: starting is always recovery.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from actors.backoff import Backoff
from actors.host.host import HostSpec
from cluster.config.options import SupervisionOptions
from cluster.errors import ServerError
from cluster.placement.hosts import HostKeeper
from cluster.placement.ray_cluster import RayCluster, RayHost
from gateways.connections import ConnectionOptions

_log = structlog.get_logger()

CHECK_S = 0.25


class RayKeeper:
    """Starts Ray, watches it, and starts it again when it is broken."""

    def __init__(
        self, start: Callable[[], Awaitable[RayCluster]], options: SupervisionOptions
    ) -> None:
        self._start = start
        self._options = options
        self._ray: RayCluster | None = None
        self._recorded: set[int] = set()
        self._watching: asyncio.Task[None] | None = None
        self.restarts_count = 0

    async def start(self) -> None:
        """Start Ray. Raises: ServerError."""
        self._ray = await self._start()
        _log.info("ray_running", address=self._ray.address)

    async def stop(self) -> None:
        """Stop Ray. Raises: TimeoutError when a process of it survives SIGKILL."""
        if self._ray is not None:
            await self._ray.stop(stop_s_max=self._options.stop_s_max)
            self._ray = None

    def start_host(self, spec: HostSpec, connections: ConnectionOptions) -> RayHost:
        """Ask the present Ray for the start of a host."""
        assert self._ray is not None, "hosts are suspended while Ray is started anew"
        return self._ray.start_host(spec, connections)

    def watch(self, hosts: HostKeeper) -> None:
        """Keep Ray running for these hosts from now on."""
        self._watching = asyncio.create_task(self._watch(hosts), name="keep ray")

    async def stop_watching(self) -> None:
        """Keep Ray no longer. A new start that is under way is broken off."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    async def _watch(self, hosts: HostKeeper) -> None:
        while True:
            await asyncio.sleep(CHECK_S)
            try:
                await self._check(hosts)
            except Exception as error:  # noqa: BLE001
                # Whatever it is, a full disk perhaps, Ray must be kept.
                _log.error("ray_check_failed", error=f"{type(error).__name__}: {error}", alarm=True)

    async def _check(self, hosts: HostKeeper) -> None:
        broken = self._ray.lacking() if self._ray is not None else "Ray itself"
        if broken := broken or hosts.stalled():
            _log.error("ray_broken", lacking=broken, alarm=True)
            await self._renew(hosts)
        elif self._ray is not None and (pids := hosts.pids) != self._recorded:
            # A worker that outlives the supervisor and the raylet can be found by its id alone.
            await self._ray.record_processes()
            self._recorded = pids

    async def _renew(self, hosts: HostKeeper) -> None:
        await hosts.suspend()
        if self._ray is not None:
            try:
                # It is broken, so there is nothing to wait for.
                await self._ray.stop(stop_s_max=0)
            except TimeoutError as error:
                _log.error("ray_not_ended", error=str(error), alarm=True)
            self._ray = None
        self.restarts_count += 1
        options = self._options
        backoff = Backoff(options.restart_ms_min / 1000, options.restart_ms_max / 1000)
        while True:
            await asyncio.sleep(backoff.next_s())
            try:
                self._ray = await self._start()
            except (ServerError, OSError) as error:
                _log.error("ray_start_failed", error=str(error), alarm=True)
                continue
            hosts.resume()
            return
