"""Stopping what a run started, and nothing else.

A process belongs to a run when run.json names its id and start mark, when it descends from such a process, or when its environment
carries the run's token. The supervisor that asks is never among them.
"""

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

from cluster.run_file import (
    RUN_TOKEN_VARIABLE,
    SERVER_ROLE,
    ProcessRecord,
    Run,
    RunFile,
    read_run,
    start_mark,
)

KILL_S_MAX = 10.0
WAIT_STEP_S = 0.05


def processes_of(run: Run) -> list[psutil.Process]:
    """Find every live process of a run other than its supervisor and the caller."""
    found: dict[int, psutil.Process] = {}
    for record in run.processes:
        if record.is_alive():
            _add_family(record.pid, found)
    found.update((process.pid, process) for process in psutil.process_iter() if _token(process) == run.token)
    for pid in (os.getpid(), run.supervisor.pid):
        found.pop(pid, None)
    return [process for process in found.values() if start_mark(process.pid) is not None]


def stop_run(run: Run, *, stop_s_max: float) -> int:
    """Stop a dead supervisor's processes. Returns: how many were found running. Raises: TimeoutError when one survives SIGKILL.

    Ray's go at once, for they keep nothing; then the servers are asked to stop, each ending its own children.
    """
    processes = processes_of(run)
    servers: dict[int, psutil.Process] = {}
    for pid in {record.pid for record in run.processes if record.role == SERVER_ROLE and record.is_alive()}:
        _add_family(pid, servers)
    stop_processes([process for process in processes if process.pid not in servers], stop_s_max=0)
    leaders = {record.pid for record in run.processes} & servers.keys()
    stop_processes([servers[pid] for pid in leaders], stop_s_max=stop_s_max)
    # Ray may have started a worker while its raylet was being stopped.
    stop_processes([*servers.values(), *processes_of(run)], stop_s_max=0)
    for path in run.scratch:
        shutil.rmtree(path, ignore_errors=True)
    return len(processes)


def stop_processes(processes: Iterable[psutil.Process], *, stop_s_max: float) -> None:
    """End processes: SIGTERM where time is given, SIGKILL for what is left. Raises: TimeoutError when one survives that."""
    left = list(processes)
    if stop_s_max > 0:
        _signal(left, signal.SIGTERM)
        # A stopped process handles SIGTERM only once it goes on.
        _signal(left, signal.SIGCONT)
        left = _left_after(left, stop_s_max)
    _signal(left, signal.SIGKILL)
    left = _left_after(left, KILL_S_MAX)
    if left:
        raise TimeoutError(
            f"processes {[process.pid for process in left]} survived SIGKILL for {KILL_S_MAX:g} s"
        )


def _left_after(processes: list[psutil.Process], wait_s: float) -> list[psutil.Process]:
    """Wait for processes to end. Returns: those that have not; one that ended but whose parent has not taken notice has."""
    left, give_up_s = processes, time.monotonic() + wait_s
    while left and time.monotonic() < give_up_s:
        _, left = psutil.wait_procs(left, timeout=WAIT_STEP_S)
        left = [process for process in left if start_mark(process.pid) is not None]
    return left


def clear_leftovers(data: Path, *, stop_s_max: float) -> int:
    """Stop what a killed supervisor left behind and forget its run; call with the directory's lock held.

    Returns: how many processes were stopped.
    """
    run = read_run(data)
    if run is None:
        return 0
    stopped = stop_run(run, stop_s_max=stop_s_max)
    (data / "run.json").unlink(missing_ok=True)
    return stopped


def record_descendants(run_file: RunFile, *, role: str) -> list[ProcessRecord]:
    """Write down, under one role, this process's descendants that carry the run's token and have no other role.

    Ray starts its processes itself, and some overwrite their environment; this is how they come to be known by id.
    """
    with run_file.lock:
        others = {
            record.pid for record in run_file.run.processes if record.role != role and record.is_alive()
        }
        named: dict[int, str] = {}
        for child in _children(os.getpid(), recursive=False):
            if child.pid not in others and _token(child) == run_file.run.token:
                for process in (child, *_children(child.pid)):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        named[process.pid] = f"{process.name()}-{process.pid}"
        run_file.replace_role(role, [(name, pid) for pid, name in named.items()])
        return [record for record in run_file.run.processes if record.role == role]


def _token(process: psutil.Process) -> str | None:
    try:
        token: str | None = process.environ().get(RUN_TOKEN_VARIABLE)
    except psutil.Error:
        return None
    return token


def _children(pid: int, *, recursive: bool = True) -> list[psutil.Process]:
    try:
        return list(psutil.Process(pid).children(recursive=recursive))
    except psutil.NoSuchProcess:
        return []


def _add_family(pid: int, found: dict[int, psutil.Process]) -> None:
    try:
        found[pid] = psutil.Process(pid)
    except psutil.NoSuchProcess:
        return
    found.update((child.pid, child) for child in _children(pid))


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)
