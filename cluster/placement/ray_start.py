"""The start of a Ray for one data directory: its driver, environment, token and session
directory.
"""

import os
import shutil
import sys
from pathlib import Path

import structlog

from cluster.config.credentials import Credentials
from cluster.config.file import Secrets
from cluster.config.options import Config
from cluster.errors import ServerError
from cluster.placement.ray_cluster import DRIVER, ROLE, RayCluster
from cluster.placement.ray_messages import Join
from cluster.processes.run_file import RunFile
from cluster.processes.spawning import spawn

_log = structlog.get_logger()

TOKEN_NAME = "ray_token"
SOCKET_PATH_BYTES_MAX = 107
SESSION_PATH_BYTES = len("/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store.123456")
LOG_TAIL_BYTES = 2000
START_TRIES = 3
START_PATIENCE = 10
"""Ray may take this many times longer to start than a server, because it starts seven processes,
one after the other.
"""
ENVIRONMENT = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Otherwise every SIGTERM prints a stack trace.
    "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AUTH_MODE": "token",
    # glibc's allocator in the hosts. Columns and snapshots of a mebibyte and more go back to the
    # system when they are freed, and the memory of a snapshot's thread is not kept apart (benchmark
    # `memory`). The pieces that sizing works on are smaller, and stay fast.
    "MALLOC_MMAP_THRESHOLD_": str(1 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(8 << 20),
    "MALLOC_ARENA_MAX": "2",
}


async def start_ray(
    data: Path, config: Config, credentials: Credentials, secrets: Secrets, run_file: RunFile
) -> RayCluster:
    """Start a local Ray, or join the one that the configuration names. Raises: ServerError. When
    it fails or is cancelled, nothing of it runs.

    Ray gives up its own start after half a minute. A busy machine may need longer, so the start is
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
    """Return the environment variables that a process needs before it imports Ray, to reach the
    Ray of a data directory.
    """
    return {**ENVIRONMENT, "RAY_AUTH_TOKEN_PATH": str((data / TOKEN_NAME).resolve())}


def join_request(config: Config, session_root: Path) -> Join:
    """Return the request that tells the driver to start or join a Ray."""
    return Join(
        namespace=config.cluster.name,
        address=config.ray.address,
        session_root=str(session_root),
        object_store_bytes=config.ray.object_store_mib << 20,
    )


def _session_root(data: Path, run_file: RunFile) -> Path:
    """Make an empty DIR/ray and a directory for Ray in it. Returns: a path to that which is short
    enough for the sockets that Ray puts below it.

    Ray opens its own directory to every user of the machine. So it stands inside a closed one.
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
