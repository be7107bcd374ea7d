"""The record of a run: every process that a cluster started, so that none outlives it unseen.

The one supervisor of a data directory holds DIR/lock. DIR/run.json names every process by id and
start mark, because the id alone may since belong to a stranger. Every process of the run has the
run's token in its environment. The token finds processes that others started for this run, such as
Ray's workers, after the file was last written.
"""

import fcntl
import os
import secrets
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import msgspec
import psutil

from cluster.errors import ClusterError, InUseError, UsageError
from cluster.private_file import write_private

RUN_TOKEN_VARIABLE = "LOCKSTEP_RUN"
RUN_DATA_VARIABLE = "LOCKSTEP_DATA"
"""The data directory of a process's run. It finds the processes when run.json is damaged."""
SERVER_ROLE = "server"
"""Role of the programs the supervisor keeps running itself."""


class ProcessRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One process. `started` is its start mark, which names it for good together with the id.
    `restarts` counts its predecessors in this run.
    """

    role: str
    name: str
    pid: int
    started: str
    restarts: int = 0

    def is_alive(self) -> bool:
        """Return whether this very process still runs; a zombie does not."""
        return self.started == start_mark(self.pid)


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A run as stored in run.json. `addresses` are by server. `scratch` are paths outside DIR that
    are removed afterwards.
    """

    token: str
    supervisor: ProcessRecord
    processes: tuple[ProcessRecord, ...] = ()
    addresses: dict[str, str] = {}
    scratch: tuple[str, ...] = ()


def start_mark(pid: int) -> str | None:
    """Return a mark that differs between a process and earlier or later ones of the same id; None
    when there is no process, or only a zombie.

    On Linux it is the boot id and the start tick, which no change of the clock moves. Elsewhere it
    is the creation time.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        state, *fields = stat.rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return None if state in "ZX" else f"{boot}/{fields[18]}"
    except OSError:
        pass
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.NoSuchProcess:
        return None


def record_of(pid: int, *, role: str, name: str) -> ProcessRecord | None:
    """Return the record of a running process, None when it is gone."""
    started = start_mark(pid)
    return (
        None if started is None else ProcessRecord(role=role, name=name, pid=pid, started=started)
    )


def read_run(data: Path) -> RunRecord | None:
    """Read DIR/run.json; None when nothing runs there or a stop left nothing behind. Raises:
    ClusterError when unreadable.
    """
    path = data / "run.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=RunRecord)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise ClusterError(
            f"{path}: expected the record of a run, found {error}; `lockstep down` ends what "
            "still runs of it and removes the file, and `lockstep up` makes it again"
        ) from None


class DirectoryLock:
    """The right to supervise one data directory. The file names the holder, and the operating
    system frees the lock when the holder dies.
    """

    def __init__(self, data: Path) -> None:
        self._path = data / "lock"
        self._file: IO[bytes] | None = None

    def acquire(self) -> None:
        """Take the lock. Raises: InUseError when a live process holds it; UsageError when it cannot
        be written.
        """
        try:
            file = self._path.open("ab")
        except OSError as error:
            raise UsageError(
                f"--data {self._path.parent}: expected a directory "
                f"that can be written, found {error}"
            ) from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            holder = self.holder()
            raise InUseError(
                f"data directory {self._path.parent}: expected one "
                "that no cluster uses, found it running"
                f"{f' in process {holder.pid}' if holder is not None else ''}; "
                f"stop it with `lockstep down --data {self._path.parent}` or use another directory"
            ) from None
        self._file = file
        mine = record_of(os.getpid(), role="supervisor", name="supervisor")
        file.truncate(0)
        file.write(msgspec.json.encode(mine))
        file.flush()

    def holder(self) -> ProcessRecord | None:
        """Return the process that holds the lock or held it last; None when it has ended, or the
        file names none.
        """
        try:
            found = msgspec.json.decode(self._path.read_bytes(), type=ProcessRecord)
        except (OSError, msgspec.DecodeError):
            return None
        return found if found.is_alive() else None

    def release(self) -> None:
        """Give the lock back."""
        if self._file is not None:
            self._file.close()
            self._file = None


class RunFile:
    """The supervisor's writer of DIR/run.json: every change is on disk before the call returns.

    Several threads may use it. A caller that changes the run depending on what it read holds `lock`
    from before reading.
    """

    def __init__(self, data: Path) -> None:
        supervisor = record_of(os.getpid(), role="supervisor", name="supervisor")
        assert supervisor is not None
        self._path = data / "run.json"
        # Another thread looks for Ray's processes, while this one starts programs again.
        self.lock = threading.RLock()
        self._is_over = False
        self.run = RunRecord(token=secrets.token_hex(16), supervisor=supervisor)
        self._write(self.run)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that mark every process of this run."""
        return {
            RUN_TOKEN_VARIABLE: self.run.token,
            RUN_DATA_VARIABLE: str(self._path.parent.resolve()),
        }

    def record(self, role: str, name: str, pid: int) -> None:
        """Write a process down, in place of the one that had this role and name before."""
        self.replace_role(role, [(name, pid)], keep_others=True)

    def replace_role(
        self, role: str, named_pids: Iterable[tuple[str, int]], *, keep_others: bool = False
    ) -> None:
        """Write down the processes of a role. Others of that role are dropped, unless `keep_others`
        is given or they are alive.
        """
        with self.lock:
            found = [record_of(pid, role=role, name=name) for name, pid in named_pids]
            new = [self._counted(record) for record in found if record is not None]
            taken = {(record.role, record.name) for record in new} | {record.pid for record in new}
            old = [
                record
                for record in self.run.processes
                if (record.role, record.name) not in taken
                and record.pid not in taken
                and (record.role != role or keep_others or record.is_alive())
            ]
            self._write(msgspec.structs.replace(self.run, processes=(*old, *new)))

    def forget(self, pid: int) -> None:
        """Drop a process that has ended for good."""
        with self.lock:
            kept = tuple(record for record in self.run.processes if record.pid != pid)
            self._write(msgspec.structs.replace(self.run, processes=kept))

    def _counted(self, record: ProcessRecord) -> ProcessRecord:
        for old in self.run.processes:
            if (old.role, old.name) == (record.role, record.name):
                is_other = (old.pid, old.started) != (record.pid, record.started)
                return msgspec.structs.replace(record, restarts=old.restarts + is_other)
        return record

    def set_address(self, name: str, address: str) -> None:
        """Write down where a server listens."""
        with self.lock:
            self._write(
                msgspec.structs.replace(self.run, addresses={**self.run.addresses, name: address})
            )

    def new_scratch(self) -> Path:
        """Make a directory outside DIR that is removed with the run. It is written down first."""
        with self.lock:
            path = Path(tempfile.gettempdir()) / f"lockstep-{secrets.token_hex(6)}"
            self._write(msgspec.structs.replace(self.run, scratch=(*self.run.scratch, str(path))))
            path.mkdir(mode=0o700)
            return path

    def remove(self) -> None:
        """Forget the run, all of whose processes have been stopped. Nothing may be written down for
        it afterwards.
        """
        with self.lock:
            self._is_over = True
            self._path.unlink(missing_ok=True)

    def _write(self, run: RunRecord) -> None:
        assert not self._is_over, "a run that is over starts nothing"
        write_private(self._path, msgspec.json.format(msgspec.json.encode(run)) + b"\n")
        self.run = run
