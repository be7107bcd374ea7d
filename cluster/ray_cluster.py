"""The local Ray: started on loopback for one data directory, or an existing one joined by address.

Ray decides where actors run and starts them; who owns a shard is never its business. Its processes are written down in run.json as they
are found, because two of them outlive a killed driver and overwrite the environment by which they could be recognised.
"""

import asyncio
import logging
import os
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

from cluster.config import Config
from cluster.config_file import Secrets
from cluster.credentials import Credentials
from cluster.errors import ServerError
from cluster.leftovers import record_descendants, stop_processes
from cluster.run_file import RunFile

ROLE = "ray"
LOGICAL_CPUS = 16
"""Actors ask for no CPU; Ray's own bookkeeping wants some number that is not the machine's."""
ESSENTIAL = ("gcs_server", "raylet")
"""Without these no host can be started; Ray itself starts neither again."""
SOCKET_PATH_BYTES_MAX = 107
SESSION_PATH_BYTES = len("/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store.123456")
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(8 << 20),
    "MALLOC_ARENA_MAX": "2",
}
"""glibc's allocator, for the hosts: columns and snapshots of a mebibyte and more go back to the system when they are freed, and what a
snapshot's thread used is not kept apart (`memory`); the pieces that sizing works on stay below, where they are fast."""
SYSTEM_CONFIG = {"worker_niceness": 0, "task_events_report_interval_ms": 0}


class RayCluster:
    """This process's connection to Ray; made by `start_ray`."""

    def __init__(self, address: str, run_file: RunFile, *, is_ours: bool) -> None:
        self.address = address
        self._run_file = run_file
        self._is_ours = is_ours

    async def record_processes(self) -> None:
        """Write down Ray's processes, workers included; call again after actors were placed."""
        if self._is_ours:
            await asyncio.to_thread(record_descendants, self._run_file, role=ROLE)

    def lacking(self) -> str:
        """Name what this Ray cannot do without and has lost; empty when it is whole, or is not ours."""
        if not self._is_ours:
            return ""
        alive = {
            record.name.rpartition("-")[0]
            for record in self._run_file.run.processes
            if record.role == ROLE and record.is_alive()
        }
        return ", ".join(name for name in ESSENTIAL if name not in alive)

    async def abandon(self) -> None:
        """End every process of a broken Ray at once, then disconnect: in the other order, disconnecting would wait for them."""
        import ray

        if self._is_ours:
            processes = await asyncio.to_thread(_processes, self._run_file)
            await asyncio.to_thread(stop_processes, processes, stop_s_max=0)
        await asyncio.to_thread(ray.shutdown)
        self._clear_scratch()

    async def stop(self, *, stop_s_max: float) -> None:
        """Disconnect, and end every process of a Ray that was started here. Raises: TimeoutError when one survives SIGKILL."""
        import ray

        processes = await asyncio.to_thread(_processes, self._run_file) if self._is_ours else []
        await asyncio.to_thread(ray.shutdown)
        await asyncio.to_thread(stop_processes, processes, stop_s_max=stop_s_max)
        self._clear_scratch()

    def _clear_scratch(self) -> None:
        for scratch in self._run_file.run.scratch:
            shutil.rmtree(scratch, ignore_errors=True)


async def start_ray(
    data: Path, config: Config, credentials: Credentials, secrets: Secrets, run_file: RunFile
) -> RayCluster:
    """Start a local Ray, or join the one the configuration names. Raises: ServerError.

    Cost: 6 s on the reference machine, of which 1 s is the import.
    """
    address = config.ray.address
    token = data / "ray_token"
    token.touch(mode=0o600)
    token.write_text(secrets.ray_token if address else credentials.ray_token)
    environment = {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        # Otherwise every SIGTERM prints a stack trace.
        "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",
        # Ray ends a process whose raylet is gone, as it sees it: the process named here, else its parent once that is process 1. This
        # process outlives its raylet and starts another. Workers are given their raylet's id.
        "RAY_RAYLET_PID": str(os.getpid()),
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token.resolve()),
        **ALLOCATOR,
        **run_file.environment,
    }
    os.environ.update(environment)
    options = _join(address) if address else _local(_session_root(data, run_file), config)
    try:
        found = await asyncio.to_thread(_init, options, config.cluster.name)
    except (RuntimeError, ConnectionError, OSError) as error:
        await asyncio.to_thread(record_descendants, run_file, role=ROLE)
        raise ServerError(
            f"ray: expected it to start, found {error}; its logs are under {data / 'ray'}"
        ) from error
    cluster = RayCluster(found, run_file, is_ours=address is None)
    run_file.set_address("ray", found)
    await cluster.record_processes()
    return cluster


def _local(session_root: Path, config: Config) -> dict[str, Any]:
    return {
        "_node_ip_address": "127.0.0.1",
        "_temp_dir": str(session_root),
        "_system_config": SYSTEM_CONFIG,
        "num_cpus": LOGICAL_CPUS,
        "num_gpus": 0,
        "object_store_memory": config.ray.object_store_mib << 20,
        "include_dashboard": False,
    }


def _join(address: str) -> dict[str, Any]:
    return {"address": address}


def _init(options: dict[str, Any], namespace: str) -> str:
    with warnings.catch_warnings():
        # Ray warns about its own coming defaults on import; nothing here depends on them.
        warnings.simplefilter("ignore")
        import ray

        # It remarks that a thread other than the main one cannot install its SIGTERM handler, which is what is wanted.
        logging.getLogger("ray").setLevel(logging.ERROR)
        context: Any = ray.init(
            **options,
            namespace=namespace,
            log_to_driver=False,
            configure_logging=False,
            logging_level=logging.ERROR,
        )
    return str(context.address_info["gcs_address"])


def _session_root(data: Path, run_file: RunFile) -> Path:
    """Make DIR/ray empty and name it by a path short enough for the sockets Ray puts below it."""
    root = (data / "ray").resolve()
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(mode=0o700)
    if len(os.fsencode(root)) + SESSION_PATH_BYTES <= SOCKET_PATH_BYTES_MAX:
        return root
    scratch = Path(tempfile.mkdtemp(prefix="lockstep-"))
    run_file.add_scratch(scratch)
    short = scratch / "r"
    short.symlink_to(root)
    return short


def _processes(run_file: RunFile) -> list[Any]:
    import psutil

    records = record_descendants(run_file, role=ROLE)
    return [psutil.Process(record.pid) for record in records if record.is_alive()]
