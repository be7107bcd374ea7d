"""Stopping a cluster from outside: its supervisor first, which stops the rest; then whatever a dead supervisor left."""

import contextlib
from pathlib import Path

import psutil

from cluster.errors import UsageError
from cluster.leftovers import clear_leftovers, stop_processes
from cluster.run_file import DirectoryLock, read_run

SUPERVISOR_STOP_S_MAX = 60.0
LEFTOVER_STOP_S_MAX = 10.0


def run(data: Path) -> int:
    """Stop the cluster of a data directory; one that is not running is no failure. Returns: the exit code.

    Raises: UsageError when there is no such directory; TimeoutError when a process survives SIGKILL.
    """
    if not data.is_dir():
        raise UsageError(f"--data {data}: expected the data directory of a cluster, found none there")
    found = read_run(data)
    if found is None:
        print(f"no cluster runs in {data}")
        return 0
    if found.supervisor.is_alive():
        with contextlib.suppress(psutil.NoSuchProcess):
            stop_processes([psutil.Process(found.supervisor.pid)], stop_s_max=SUPERVISOR_STOP_S_MAX)
    lock = DirectoryLock(data)
    lock.acquire()
    try:
        stopped = clear_leftovers(data, stop_s_max=LEFTOVER_STOP_S_MAX)
    finally:
        lock.release()
    print(
        f"cluster in {data} is down"
        + (f"; {stopped} processes of a dead supervisor stopped" if stopped else "")
    )
    return 0
