"""CPU seconds and memory of a cluster's processes by role, read from the operating system before
and after a run.

    client                      the harness and the supervisor, one process
    nats, postgres              the servers
    broker-<name>               a broker's program
    creator, follower, gateway  the hosts
    ray                         the rest of Ray

Peaks are the kernel's high-water marks, so nothing is sampled. Peaks of Postgres count its shared
memory in each process.
"""

import os
from pathlib import Path
from typing import NamedTuple

import psutil

from actors.shard.progress import HostHeartbeat
from cluster.errors import ClusterError
from cluster.placement.ray_cluster import DRIVER, ESSENTIAL
from cluster.placement.ray_cluster import ROLE as RAY_ROLE
from cluster.processes.run_file import SERVER_ROLE, ProcessRecord, read_run, record_of


class Used(NamedTuple):
    """One process: its role, its CPU seconds since it started, its resident bytes now and at
    their highest.
    """

    role: str
    cpu_s: float
    resident_bytes: int
    peak_bytes: int


Usage = dict[int, Used]
"""The use of every process so far, by process id."""


def roles_of(data: Path, hosts: dict[str, HostHeartbeat]) -> dict[int, str]:
    """Return the role of every process of a running cluster, by process id."""
    run = read_run(data)
    roles: dict[int, str] = {}
    for record in run.processes if run else ():
        name = record.name if record.role in (SERVER_ROLE, "broker") else record.role
        for pid in _family(record.pid) if record.is_alive() else ():
            roles.setdefault(pid, name)
    for process in psutil.Process().children(recursive=True):
        roles.setdefault(process.pid, "ray" if "ray" in " ".join(_command(process)) else "other")
    roles.update({host.pid: host.kind for host in hosts.values() if psutil.pid_exists(host.pid)})
    roles[os.getpid()] = "client"
    return roles


def needed(data: Path, hosts: dict[str, HostHeartbeat]) -> list[ProcessRecord]:
    """Return the processes that a run's figures depend on: servers, brokers, hosts, and what Ray
    needs.
    """
    run = read_run(data)
    records = [
        record
        for record in (run.processes if run else ())
        if record.role != RAY_ROLE or record.name.partition("-")[0] in (DRIVER, *ESSENTIAL)
    ]
    found = (record_of(host.pid, role="host", name=name) for name, host in hosts.items())
    return [*records, *(record for record in found if record is not None)]


def expect_alive(records: list[ProcessRecord]) -> None:
    """Refuse figures if a process ended meanwhile. The cluster heals, but the figures would be
    of something else. Raises: ClusterError.
    """
    ended = [f"{record.name} (process {record.pid})" for record in records if not record.is_alive()]
    if ended:
        raise ClusterError(
            "expected every process to run to the end, found "
            f"{', '.join(ended)} ended meanwhile: no figure"
        )


def usage(roles: dict[int, str]) -> Usage:
    """Read what each process has used."""
    found = {pid: _used(pid, role) for pid, role in roles.items()}
    return {pid: used for pid, used in found.items() if used is not None}


def resident(used: Usage) -> dict[str, int]:
    """Add up resident bytes by role."""
    return _by_role(used, "resident_bytes")


def peak(used: Usage) -> dict[str, int]:
    """Add up the highest resident bytes by role."""
    return _by_role(used, "peak_bytes")


def spent(before: Usage, after: Usage) -> dict[str, dict[str, float]]:
    """Return what each role spent between two readings. A process that ended meanwhile counts
    only as far as it was read.
    """
    found: dict[str, dict[str, float]] = {}
    for pid, now in sorted(after.items(), key=lambda item: item[1].role):
        role = found.setdefault(
            now.role, {"cpu_s": 0.0, "resident_bytes": 0, "peak_bytes": 0, "processes": 0}
        )
        role["cpu_s"] = round(
            role["cpu_s"] + now.cpu_s - (before[pid].cpu_s if pid in before else 0.0), 3
        )
        role["resident_bytes"] += now.resident_bytes
        role["peak_bytes"] += now.peak_bytes
        role["processes"] += 1
    return found


def _by_role(used: Usage, field: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for one in used.values():
        found[one.role] = found.get(one.role, 0) + int(getattr(one, field))
    return found


def _used(pid: int, role: str) -> Used | None:
    try:
        process = psutil.Process(pid)
        times = process.cpu_times()
        resident_bytes = process.memory_info().rss
    except psutil.Error:
        return None
    return Used(
        role, times.user + times.system, resident_bytes, max(resident_bytes, _peak_bytes(pid))
    )


def _peak_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def _family(pid: int) -> list[int]:
    try:
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.Error:
        return []


def _command(process: psutil.Process) -> list[str]:
    try:
        return [process.name(), *process.cmdline()]
    except psutil.Error:
        return []
