"""Stopping the processes of a run, and no others.

A process belongs to a run in any of these cases:
- run.json names its id and start mark;
- it descends from such a process;
- its environment carries the run's token;
- it has no environment any more, and is in the session of a process that run.json names. Ray's
  agents and workers write their title over their environment.

The supervisor that asks is never among them.
"""

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Iterable
from pathlib import Path

import psutil
import structlog

from cluster.errors import ClusterError
from cluster.processes.run_file import (
    RUN_DATA_VARIABLE,
    RUN_TOKEN_VARIABLE,
    SERVER_ROLE,
    ProcessRecord,
    RunFile,
    RunRecord,
    read_run,
    start_mark,
)

_log = structlog.get_logger()
KILL_S_MAX = 10.0
WAIT_STEP_S = 0.05


def processes_of(run: RunRecord) -> list[psutil.Process]:
    """Find every live process of a run other than its supervisor and the caller."""
    found: dict[int, psutil.Process] = {}
    for record in run.processes:
        if record.is_alive():
            _add_family(record.pid, found)
    sessions = {
        record.pid for record in run.processes if start_mark(record.pid) in (None, record.started)
    }
    found.update(
        (process.pid, process)
        for process in psutil.process_iter()
        if _is_marked(process, run.token, sessions)
    )
    for pid in (os.getpid(), run.supervisor.pid):
        found.pop(pid, None)
    return [process for process in found.values() if start_mark(process.pid) is not None]


def family_of(leader: int) -> list[psutil.Process]:
    """Find a running session leader, its descendants and the processes of its session."""
    found: dict[int, psutil.Process] = {}
    _add_family(leader, found)
    for process in psutil.process_iter():
        if _session(process.pid) == leader:
            _add_family(process.pid, found)
    return list(found.values())


def end_family(leader: int, family: Iterable[psutil.Process]) -> None:
    """Kill a family that was found before its leader ended, and all that it started since. Call it
    before the leader is reaped.

    Raises: TimeoutError when a process survives.
    """
    found = [*family, *family_of(leader)]
    while left := [process for process in found if _runs(process)]:
        stop_processes(left, stop_s_max=0)
        found = family_of(leader)


def stop_run(run: RunRecord, *, stop_s_max: float) -> int:
    """Stop the processes of a dead supervisor. Returns: the number found running. Raises:
    TimeoutError when one survives SIGKILL.

    Ray's processes are killed at once, because they keep nothing. Then the servers are asked to
    stop; each ends its own children.
    """
    processes = processes_of(run)
    servers: dict[int, psutil.Process] = {}
    for pid in {
        record.pid for record in run.processes if record.role == SERVER_ROLE and record.is_alive()
    }:
        _add_family(pid, servers)
    stop_processes([process for process in processes if process.pid not in servers], stop_s_max=0)
    leaders = {record.pid for record in run.processes} & servers.keys()
    stop_processes([servers[pid] for pid in leaders], stop_s_max=stop_s_max)
    stop_processes(servers.values(), stop_s_max=0)
    # A process that was being stopped may have started another.
    while late := processes_of(run):
        stop_processes(late, stop_s_max=0)
    for path in run.scratch:
        shutil.rmtree(path, ignore_errors=True)
    return len(processes)


def stop_processes(processes: Iterable[psutil.Process], *, stop_s_max: float) -> None:
    """End processes: by SIGTERM if there is time, then the remaining ones by SIGKILL. Raises:
    TimeoutError when one survives.
    """
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
    """Wait for processes to end. Returns: those that have not. A zombie counts as ended.

    No process is reaped here: a child of this process stays its starter's to reap.
    """
    left, give_up_s = (
        [process for process in processes if _runs(process)],
        time.monotonic() + wait_s,
    )
    while left and time.monotonic() < give_up_s:
        time.sleep(WAIT_STEP_S)
        left = [process for process in left if _runs(process)]
    return left


def _runs(process: psutil.Process) -> bool:
    return bool(process.is_running()) and start_mark(process.pid) is not None


def clear_leftovers(data: Path, *, stop_s_max: float) -> int:
    """Stop the processes that a killed supervisor left behind, and forget its run. The caller holds
    the directory's lock.

    Returns: the number of processes that were stopped. If run.json is damaged, the processes are
    found by the directory that their environment names, and killed.
    """
    try:
        run = read_run(data)
    except ClusterError as error:
        _log.warning("run_record_damaged", error=str(error))
        found = _started_for(data)
        stop_processes(found, stop_s_max=0)
        stopped = len(found)
    else:
        if run is None:
            return 0
        stopped = stop_run(run, stop_s_max=stop_s_max)
    (data / "run.json").unlink(missing_ok=True)
    return stopped


def _started_for(data: Path) -> list[psutil.Process]:
    """Find the live processes of any run of a data directory, and their descendants, without the
    caller.
    """
    named, found = str(data.resolve()), dict[int, psutil.Process]()
    for process in psutil.process_iter():
        if (_environment(process) or {}).get(RUN_DATA_VARIABLE) == named:
            _add_family(process.pid, found)
    found.pop(os.getpid(), None)
    return list(found.values())


def record_family(run_file: RunFile, *, role: str, name: str, leader: int) -> list[ProcessRecord]:
    """Write down a session leader and all that it started, under one role. The leader gets the
    given name, the others that of their program.
    """
    family = {process.pid: process for process in family_of(leader) if process.pid != leader}
    named = [(name, leader)]
    for pid, process in family.items():
        with contextlib.suppress(psutil.NoSuchProcess):
            named.append((f"{process.name()}-{pid}", pid))
    run_file.replace_role(role, named)
    return [record for record in run_file.run.processes if record.role == role]


def _is_marked(process: psutil.Process, token: str, sessions: set[int]) -> bool:
    environment = _environment(process)
    if environment is None:
        return False
    if environment:
        return bool(environment.get(RUN_TOKEN_VARIABLE) == token)
    # Kernel threads have no environment either, and no session.
    return _session(process.pid) in sessions


def _environment(process: psutil.Process) -> dict[str, str] | None:
    """Return a process's environment; None when it may not be read, or the process is gone."""
    try:
        return dict(process.environ())
    except (psutil.Error, OSError):
        return None


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def _children(pid: int) -> list[psutil.Process]:
    try:
        return list(psutil.Process(pid).children(recursive=True))
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
