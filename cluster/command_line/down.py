"""`lockstep down`: first stop the supervisor, which stops the rest; then stop what a dead
supervisor left behind.
"""

import contextlib
import time
from pathlib import Path

import psutil

from cluster.errors import ClusterError, InUseError
from cluster.processes.leftovers import clear_leftovers, stop_processes
from cluster.processes.run_file import DirectoryLock
from cluster.running.data_directory import check_is_directory

SUPERVISOR_STOP_S_MAX = 60.0
LEFTOVER_STOP_S_MAX = 10.0
LOCK_S_MAX = 10.0
LOCK_STEP_S = 0.05


def run(data: Path) -> int:
    """Stop the cluster of a data directory, running or starting. If there is none, that is no
    failure. Returns: the exit code.

    Raises: UsageError when there is no such directory; TimeoutError when a process survives
    SIGKILL.
    """
    check_is_directory(data)
    if not (data / "lock").exists() and not (data / "run.json").exists():
        print(f"no cluster runs in {data}")
        return 0
    lock = DirectoryLock(data)
    was_running = False
    give_up_s = time.monotonic() + LOCK_S_MAX
    while not _acquired(lock):
        holder = lock.holder()
        if holder is not None:
            was_running = True
            print(f"stopping the cluster in {data}, process {holder.pid}", flush=True)
            with contextlib.suppress(psutil.NoSuchProcess):
                stop_processes([psutil.Process(holder.pid)], stop_s_max=SUPERVISOR_STOP_S_MAX)
        elif time.monotonic() > give_up_s:
            raise ClusterError(
                f"{data / 'lock'}: expected its holder's name in it, found none; "
                "find out who has the file open, and end that process"
            )
        else:
            # The process that took the lock has not written its name yet.
            time.sleep(LOCK_STEP_S)
    try:
        stopped = clear_leftovers(data, stop_s_max=LEFTOVER_STOP_S_MAX)
    finally:
        lock.release()
    if stopped:
        print(f"cluster in {data} is down; {stopped} processes of a dead supervisor stopped")
    else:
        print(f"cluster in {data} is down" if was_running else f"no cluster runs in {data}")
    return 0


def _acquired(lock: DirectoryLock) -> bool:
    try:
        lock.acquire()
    except InUseError:
        return False
    return True
