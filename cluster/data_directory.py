"""A cluster's data directory: made once, held by one supervisor, and never opened with other shard counts than it was made with.

nats/ postgres/ ray/     the servers' own        broker/<name>/   paper brokers' ledgers      logs/*.log
cluster.json             what was fixed when it was made
credentials.json         who may connect; for other programs
run.json, lock           the run in progress
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from cluster.config import Config
from cluster.errors import ClusterError, UsageError
from cluster.leftovers import clear_leftovers, stop_run
from cluster.run_file import DirectoryLock, RunFile

FORMAT_VERSION = 1


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What DIR/cluster.json holds: changing any of it would send accounts to other shards than their journals'."""

    format_version: int
    follower_shards: int
    creator_shards: int


@contextmanager
def opened(data: Path, config: Config) -> Iterator[RunFile]:
    """Hold a data directory for the length of a run: made or checked, locked, and cleared of a killed run's processes.

    Leaving it removes run.json; what was started for the run and still runs then, after an error, is stopped.
    Raises: UsageError when it is in use, or was made with other shard counts.
    """
    try:
        for folder in (data, data / "logs", data / "broker"):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"--data {data}: expected a directory that can be made and written, found {error}"
        ) from None
    lock = DirectoryLock(data)
    lock.acquire()
    try:
        ensure_identity(data, config)
        clear_leftovers(data, stop_s_max=config.supervision.stop_s_max)
        run_file = RunFile(data)
        try:
            yield run_file
        finally:
            # A start or a stop that failed half way may have left what nobody holds any more.
            stop_run(run_file.run, stop_s_max=config.supervision.stop_s_max)
            run_file.remove()
    finally:
        lock.release()


def ensure_identity(data: Path, config: Config) -> Identity:
    """Store what the configuration fixes, or compare it with what is stored. Raises: UsageError, ClusterError."""
    wanted = Identity(
        format_version=FORMAT_VERSION,
        follower_shards=config.cluster.follower_shards,
        creator_shards=config.cluster.creator_shards,
    )
    found = read_identity(data)
    if found is None:
        partial = data / "cluster.part"
        partial.write_bytes(msgspec.json.format(msgspec.json.encode(wanted)) + b"\n")
        partial.replace(data / "cluster.json")
        return wanted
    for field in Identity.__struct_fields__:
        if getattr(found, field) != getattr(wanted, field):
            raise UsageError(
                f"data directory {data}: expected {field} = {getattr(found, field)}, as it was made with, "
                f"found {getattr(wanted, field)}; set it back, or use another directory"
            )
    return found


def read_identity(data: Path) -> Identity | None:
    """Read DIR/cluster.json; None when the directory never held a cluster. Raises: ClusterError when it is unreadable."""
    path = data / "cluster.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Identity)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise ClusterError(
            f"{path}: expected what the cluster was made with, found {error}; restore the file"
        ) from None
