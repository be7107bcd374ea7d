"""CPU seconds and memory of a cluster's processes, by role, read from the operating system before and after a run.

Roles: `client` (the harness and the supervisor, one process), `nats`, `postgres`, `broker-<name>`, `creator`, `follower`, `gateway`
(hosts), `ray` (the rest of Ray). Peaks are the kernel's high-water marks, so nothing is sampled; those of postgres count its shared
memory in each process.
"""

import os
from pathlib import Path
from typing import NamedTuple

import psutil

from actors.heads import HostHead
from cluster.run_file import SERVER_ROLE, read_run


class Usage(NamedTuple):
    """One role's processes together: CPU since their start, resident bytes now and at their highest."""

    cpu_s: float
    resident_bytes: int
    peak_bytes: int
    processes: int


def roles_of(data: Path, hosts: dict[str, HostHead]) -> dict[int, str]:
    """Name the role of every process of a running cluster, by process id."""
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


def usage(roles: dict[int, str]) -> dict[str, Usage]:
    """Read what each role has used."""
    found: dict[str, Usage] = {}
    for pid, role in roles.items():
        one = _usage_of(pid)
        if one is not None:
            sums = [ours + its for ours, its in zip(found.get(role, Usage(0.0, 0, 0, 0)), one, strict=True)]
            found[role] = Usage(sums[0], int(sums[1]), int(sums[2]), int(sums[3]))
    return found


def spent(before: dict[str, Usage], after: dict[str, Usage]) -> dict[str, dict[str, float]]:
    """Say what each role spent between two readings."""
    return {
        role: {
            "cpu_s": round(now.cpu_s - (before[role].cpu_s if role in before else 0.0), 3),
            "resident_bytes": now.resident_bytes,
            "peak_bytes": now.peak_bytes,
            "processes": now.processes,
        }
        for role, now in sorted(after.items())
    }


def _usage_of(pid: int) -> Usage | None:
    try:
        process = psutil.Process(pid)
        times = process.cpu_times()
        resident = process.memory_info().rss
    except psutil.Error:
        return None
    return Usage(times.user + times.system, resident, max(resident, _peak_bytes(pid)), 1)


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
