"""A Ray as the supervisor sees it: a local one on loopback for one data directory, or an existing
one joined by address.

Ray decides where actors run and starts them. It never decides who owns a shard. All its processes
run below one driver (`cluster.placement.ray_driver`) and stay in the driver's session. They are
written down in run.json as they are found. Killing that family ends Ray, which keeps nothing.
"""

import asyncio
import shutil
import signal
from typing import cast

from actors.host.host import HostSpec
from cluster.errors import ServerError
from cluster.placement.ray_messages import (
    HostEnded,
    HostStarted,
    Join,
    Joined,
    KillHost,
    Leave,
    Report,
    Request,
    StartHost,
    StopHost,
    decode_report,
    framed,
    take_frames,
)
from cluster.processes.cancellation import to_the_end
from cluster.processes.leftovers import record_family
from cluster.processes.run_file import RunFile
from cluster.processes.spawning import Child
from gateways.connections import ConnectionOptions

ROLE = "ray"
DRIVER = "driver"
ESSENTIAL = ("gcs_server", "raylet")
"""Without these no host can be started, and Ray itself starts neither again."""


class RayHost:
    """A host on its way or running, as its keeper sees it."""

    def __init__(self, incarnation: str, ray: "RayCluster") -> None:
        self._incarnation = incarnation
        self._ray = ray
        self._is_started = asyncio.Event()
        self._over = asyncio.Event()
        self._reason = ""

    async def ended(self) -> str:
        """Wait until the host has ended. Returns: the reason, in words."""
        await self._over.wait()
        return self._reason

    async def started(self) -> None:
        """Wait until Ray has taken the host, or it is over."""
        await self._is_started.wait()

    def ask_to_stop(self) -> None:
        """Ask the host to end."""
        self._ray.send(StopHost(self._incarnation))

    def kill(self) -> None:
        """End the host's process if it still runs. A halted process ends when it is continued."""
        self._ray.send(KillHost(self._incarnation))

    def note_started(self) -> None:
        """Note that Ray has taken the host."""
        self._is_started.set()

    def note_ended(self, reason: str) -> None:
        """Note that the host is over."""
        self._reason = self._reason or reason
        self._is_started.set()
        self._over.set()


class RayCluster(asyncio.Protocol):
    """A Ray, reached through its driver; made by `start_ray`. Nothing here calls into Ray, so no
    call waits longer than its caller allows.
    """

    def __init__(self, child: Child, run_file: RunFile, *, is_ours: bool) -> None:
        self.address = ""
        self._child = child
        self._run_file = run_file
        self._is_ours = is_ours
        self._received = bytearray()
        self._transport: asyncio.WriteTransport | None = None
        self._hosts: dict[str, RayHost] = {}
        self._joined = asyncio.Event()
        self._is_lost = False

    # The driver's socket.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection to the driver."""
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        """Take bytes of the driver's reports."""
        self._received += data
        for body in take_frames(self._received):
            self._take(decode_report(body))

    def connection_lost(self, error: Exception | None) -> None:
        """Note that the driver is gone, and every host with it."""
        self._is_lost = True
        self._joined.set()
        for host in list(self._hosts.values()):
            host.note_ended("Ray's driver is gone")
        self._hosts.clear()

    def _take(self, report: Report) -> None:
        match report:
            case Joined(address):
                self.address = address
                self._joined.set()
            case HostStarted(incarnation):
                if incarnation in self._hosts:
                    self._hosts[incarnation].note_started()
            case HostEnded(incarnation, reason):
                if incarnation in self._hosts:
                    self._hosts.pop(incarnation).note_ended(reason)

    def send(self, request: Request) -> None:
        """Send the driver a request, unless it is gone."""
        if self._transport is not None and not self._is_lost:
            self._transport.write(framed(request))

    async def join(self, request: Join, start_s_max: float) -> None:
        """Let the driver start or join Ray, and wait for it. Raises: ServerError."""
        await asyncio.get_running_loop().create_unix_connection(
            lambda: self, sock=self._child.take_channel()
        )
        self.send(request)
        try:
            async with asyncio.timeout(start_s_max):
                await self._joined.wait()
        except TimeoutError:
            raise ServerError(
                f"ray: expected it to start within {start_s_max:g} s, found no answer"
            ) from None
        if not self.address:
            raise ServerError("ray: expected it to start, found that its driver ended")

    # Hosts.

    def start_host(self, spec: HostSpec, connections: ConnectionOptions) -> RayHost:
        """Ask for the start of a host."""
        host = RayHost(spec.incarnation, self)
        if self._is_lost:
            host.note_ended("Ray's driver is gone")
        else:
            self._hosts[spec.incarnation] = host
            self.send(StartHost(spec, connections))
        return host

    async def record_processes(self) -> None:
        """Write down Ray's processes, workers included. Call it again after actors were placed."""
        await to_the_end(asyncio.to_thread(self._record))

    def _record(self) -> None:
        if self._child.returncode is None:
            record_family(self._run_file, role=ROLE, name=DRIVER, leader=self._child.pid)

    def lacking(self) -> str:
        """Return the names of processes that this Ray needs and has lost; empty when it is
        whole.
        """
        essential = (DRIVER, *(ESSENTIAL if self._is_ours else ()))
        alive = {
            record.name if record.name == DRIVER else record.name.rpartition("-")[0]
            for record in self._run_file.run.processes
            if record.role == ROLE and record.is_alive()
        }
        if self._is_lost:
            alive.discard(DRIVER)
        return ", ".join(name for name in essential if name not in alive)

    async def stop(self, *, stop_s_max: float) -> None:
        """Leave an existing Ray in order, or end the local one at once. Raises: TimeoutError when a
        process survives SIGKILL.
        """
        await to_the_end(self._stop(0.0 if self._is_ours else stop_s_max))

    async def _stop(self, leave_s_max: float) -> None:
        if leave_s_max and not self._is_lost:
            self.send(Leave())
            try:
                async with asyncio.timeout(leave_s_max):
                    await self._child.wait()
            except TimeoutError:
                pass
        await self._child.end(signal.SIGKILL, stop_s_max=0)
        if self._transport is not None:
            self._transport.close()
        for scratch in self._run_file.run.scratch:
            shutil.rmtree(scratch, ignore_errors=True)
