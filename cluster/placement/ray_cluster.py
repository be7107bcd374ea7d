"""The local Ray, started on loopback for one data directory, or an existing one joined by address,
as its supervisor holds it.

Ray decides where actors run and starts them; who owns a shard is never its business. All of it runs
below one driver (`ray_driver`), whose session its processes stay in; they are written down in
run.json as they are found. To end Ray is to kill that family: it keeps nothing.
"""

import asyncio
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import cast

import structlog

from actors.host.host import HostSpec
from cluster.config.credentials import Credentials
from cluster.config.file import Secrets
from cluster.config.options import Config
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
from cluster.processes.spawning import Child, spawn
from gateways.connections import ConnectionOptions

_log = structlog.get_logger()

ROLE = "ray"
TOKEN_NAME = "ray_token"
DRIVER = "driver"
ESSENTIAL = ("gcs_server", "raylet")
"""Without these no host can be started; Ray itself starts neither again."""
SOCKET_PATH_BYTES_MAX = 107
SESSION_PATH_BYTES = len("/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store.123456")
LOG_TAIL_BYTES = 2000
START_TRIES = 3
START_PATIENCE = 10
"""How many times longer than a server Ray may take to start: it starts seven processes, one after
the other.
"""
ENVIRONMENT = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Otherwise every SIGTERM prints a stack trace.
    "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AUTH_MODE": "token",
    # glibc's allocator, for the hosts: columns and snapshots of a mebibyte and more go back to the
    # system when they are freed, and what a snapshot's thread used is not kept apart (benchmark
    # `memory`); the pieces that sizing works on stay below, where they are fast.
    "MALLOC_MMAP_THRESHOLD_": str(1 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(8 << 20),
    "MALLOC_ARENA_MAX": "2",
}


class RayHost:
    """A host on its way or running, as its keeper holds it."""

    def __init__(self, incarnation: str, ray: "RayCluster") -> None:
        self._incarnation = incarnation
        self._ray = ray
        self._is_started = asyncio.Event()
        self._over = asyncio.Event()
        self._reason = ""

    async def ended(self) -> str:
        """Wait until the host has ended. Returns: why, in words."""
        await self._over.wait()
        return self._reason

    async def started(self) -> None:
        """Wait until Ray has taken the host, or it is over."""
        await self._is_started.wait()

    def ask_to_stop(self) -> None:
        """Ask the host to end."""
        self._ray.send(StopHost(self._incarnation))

    def kill(self) -> None:
        """End the host's process if it still runs; one that is stopped ends when it goes on."""
        self._ray.send(KillHost(self._incarnation))

    def note_started(self) -> None:
        """Take it from Ray that the host is its own now."""
        self._is_started.set()

    def note_ended(self, reason: str) -> None:
        """Take it from Ray that the host is over."""
        self._reason = self._reason or reason
        self._is_started.set()
        self._over.set()


class RayCluster(asyncio.Protocol):
    """A Ray by its driver; made by `start_ray`. Nothing here calls into Ray, so nothing here waits
    for it longer than told.
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
        """Take the way to the driver."""
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        """Take what the driver reports."""
        self._received += data
        for body in take_frames(self._received):
            self._take(decode_report(body))

    def connection_lost(self, error: Exception | None) -> None:
        """Take it that the driver is gone, and every host with it."""
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
        """Tell the driver something; one that is gone is told nothing."""
        if self._transport is not None and not self._is_lost:
            self._transport.write(framed(request))

    async def join(self, request: Join, start_s_max: float) -> None:
        """Have the driver start or join Ray. Raises: ServerError."""
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
        """Have a host started."""
        host = RayHost(spec.incarnation, self)
        if self._is_lost:
            host.note_ended("Ray's driver is gone")
        else:
            self._hosts[spec.incarnation] = host
            self.send(StartHost(spec, connections))
        return host

    async def record_processes(self) -> None:
        """Write down Ray's processes, workers included; call again after actors were placed."""
        await to_the_end(asyncio.to_thread(self._record))

    def _record(self) -> None:
        if self._child.returncode is None:
            record_family(self._run_file, role=ROLE, name=DRIVER, leader=self._child.pid)

    def lacking(self) -> str:
        """Name what this Ray cannot do without and has lost; empty when it is whole."""
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
        """Leave somebody else's Ray in order, end one's own at once. Raises: TimeoutError when a
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


async def start_ray(
    data: Path, config: Config, credentials: Credentials, secrets: Secrets, run_file: RunFile
) -> RayCluster:
    """Start a local Ray, or join the one the configuration names. Raises: ServerError. Nothing of
    it runs when that fails or is cancelled.

    Ray gives up a start of its own after half a minute, which a busy machine may need; then it is
    tried again.
    Cost: 6 s on the reference machine, of which 1 s is the import.
    """
    for tries_left in reversed(range(START_TRIES)):
        try:
            return await _try_to_start(data, config, credentials, secrets, run_file)
        except ServerError as error:
            if config.ray.address is not None or not tries_left:
                raise
            _log.warning(
                "ray_start_failed", error=str(error).splitlines()[-1], tries_left=tries_left
            )
    raise AssertionError("the last try returns or raises")


async def _try_to_start(
    data: Path, config: Config, credentials: Credentials, secrets: Secrets, run_file: RunFile
) -> RayCluster:
    address = config.ray.address
    token = data / TOKEN_NAME
    token.touch(mode=0o600)
    token.write_text(secrets.ray_token if address else credentials.ray_token)
    log_path = data / "logs" / "ray.log"
    request = join_request(config, _session_root(data, run_file))
    child = spawn(
        run_file,
        role=ROLE,
        name=DRIVER,
        argv=(sys.executable, "-m", "cluster.placement.ray_driver"),
        log_path=log_path,
        environment=ray_environment(data),
    )
    cluster = RayCluster(child, run_file, is_ours=address is None)
    try:
        await cluster.join(request, START_PATIENCE * config.supervision.start_s_max)
        run_file.set_address("ray", cluster.address)
        await cluster.record_processes()
    except BaseException as error:
        await cluster.stop(stop_s_max=config.supervision.stop_s_max)
        if isinstance(error, ServerError):
            raise ServerError(
                f"{error}; its log {log_path} ends with:\n{_tail(log_path)}"
            ) from None
        raise
    return cluster


def ray_environment(data: Path) -> dict[str, str]:
    """Say what a process needs in its environment before it imports Ray, to speak to the Ray of a
    data directory.
    """
    return {**ENVIRONMENT, "RAY_AUTH_TOKEN_PATH": str((data / TOKEN_NAME).resolve())}


def join_request(config: Config, session_root: Path) -> Join:
    """Say what the driver is to start or join."""
    return Join(
        namespace=config.cluster.name,
        address=config.ray.address,
        session_root=str(session_root),
        object_store_bytes=config.ray.object_store_mib << 20,
    )


def _session_root(data: Path, run_file: RunFile) -> Path:
    """Make DIR/ray empty, and in it a directory for Ray; name it by a path short enough for the
    sockets Ray puts below it.

    Ray opens its own directory to every user of the machine, so it stands in one that is closed.
    """
    closed = (data / "ray").resolve()
    shutil.rmtree(closed, ignore_errors=True)
    closed.mkdir(mode=0o700)
    root = closed / "r"
    root.mkdir(mode=0o700)
    if len(os.fsencode(root)) + SESSION_PATH_BYTES <= SOCKET_PATH_BYTES_MAX:
        return root
    scratch = run_file.new_scratch()
    short = scratch / "r"
    short.symlink_to(root)
    return short


def _tail(path: Path) -> str:
    return path.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").strip()
