"""A cluster's data directory: made once, held by one supervisor, and never opened with other shard
counts than it was made with.

    nats/ postgres/ ray/     data of the servers
    broker/<name>/           ledgers of paper brokers
    logs/*.log               logs of all processes, the supervisor's as JSON lines
    cluster.json             shard counts, brokers and id, fixed when the directory was made
    credentials.json         logins for other programs
    run.json, lock           the run in progress
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

import msgspec

from cluster.config.options import Config
from cluster.errors import UsageError
from cluster.private_file import close_to_others, write_private
from cluster.processes.leftovers import clear_leftovers, stop_run
from cluster.processes.run_file import DirectoryLock, RunFile

FORMAT_VERSION = 1
OWN_NAMES = frozenset(
    {"nats", "postgres", "ray", "ray_token", "broker", "logs", "lock"}
    | {"cluster.json", "credentials.json", "run.json"}
)


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """The content of DIR/cluster.json. Changing the counts or brokers would send accounts to other
    shards than those that have their journals.
    """

    format_version: int
    follower_shards: int
    creator_shards: int
    brokers: tuple[str, ...] = ()
    """In the order of their gateway shards. A new broker comes last."""
    cluster_id: str = ""
    """128 random bits, by which brokers and streams know whose orders they hold."""
    streams: tuple[str, ...] = ()
    """The streams that the cluster has made. One that is missing later is not made again."""


@contextmanager
def opened(data: Path, config: Config) -> Iterator[RunFile]:
    """Hold a data directory for the length of a run: made or checked, locked, and cleared of the
    processes of a killed run.

    At the end run.json is removed. Processes of the run that still run then, after an error, are
    stopped.
    Raises: UsageError when the directory is in use, was made with other shard counts, lacks a
    broker, belongs to somebody else, or cannot be written.
    """
    try:
        _refuse_closed(data)
        _refuse_foreign(data)
        wanted = _wanted(data, config)
        for folder in (data, data / "logs", data / "broker"):
            folder.mkdir(parents=True, exist_ok=True)
        _refuse_closed(data)
    except OSError as error:
        raise UsageError(
            f"--data {data}: expected a directory that can be made, read and written, found {error}"
        ) from None
    lock = DirectoryLock(data)
    lock.acquire()
    try:
        _close_to_others(data)
        if read_identity(data) != wanted:
            _write_identity(data, wanted)
        clear_leftovers(data, stop_s_max=config.supervision.stop_s_max)
        run_file = RunFile(data)
        try:
            yield run_file
        finally:
            # A start or a stop that failed half way may have left processes that nobody holds.
            stop_run(run_file.run, stop_s_max=config.supervision.stop_s_max)
            run_file.remove()
    finally:
        lock.release()


def _close_to_others(data: Path) -> None:
    """Take every right to the directory, and to what it holds, from other users. Raises:
    UsageError when it belongs to another user.
    """
    own = (data / name for name in sorted(OWN_NAMES))
    try:
        for path in (data, *own, *(data / "logs").iterdir(), *(data / "broker").iterdir()):
            # Postgres's folder belongs to the user that Postgres runs as. DIR keeps others out.
            if path.exists() and path.name != "postgres":
                close_to_others(path)
    except OSError as error:
        raise UsageError(
            f"--data {data}: expected to close it to other users, found {error}; "
            "start as the user who made it, or name another directory"
        ) from None


def check_is_directory(data: Path) -> None:
    """Refuse a path in which no cluster can have been started. Raises: UsageError."""
    try:
        if data.is_dir():
            list(data.iterdir())
            return
    except OSError as error:
        raise UsageError(
            f"--data {data}: expected the data directory of a cluster, "
            f"found {error}; ask as the user who made it"
        ) from None
    raise UsageError(f"--data {data}: expected the data directory of a cluster, found none there")


def _refuse_foreign(data: Path) -> None:
    """Refuse a directory that holds other files and never held a cluster. Raises: UsageError;
    OSError.
    """
    if not data.exists() or read_identity(data) is not None:
        return
    strange = sorted(
        path.name
        for path in data.iterdir()
        if path.name not in OWN_NAMES and path.suffix != ".part"
    )
    if strange:
        raise UsageError(
            f"--data {data}: expected an empty directory or a cluster's, found "
            f"{', '.join(strange[:3])} in it; name another"
        )


def _refuse_closed(data: Path) -> None:
    """Refuse a directory that another user's cluster has filled. Raises: UsageError."""
    for path in (data, *(data / name for name in sorted(OWN_NAMES))):
        needed = os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0)
        if path.exists() and not os.access(path, needed):
            raise UsageError(
                f"--data {data}: expected to read and write all of it, "
                f"found {path} closed to this user; "
                "start as the user who made it, or name another directory"
            )


def _wanted(data: Path, config: Config) -> Identity:
    """Return the identity that the configuration asks for. Raises: UsageError when the stored one
    contradicts it.
    """
    found = read_identity(data)
    known = found.brokers if found is not None else ()
    wanted = Identity(
        format_version=FORMAT_VERSION,
        follower_shards=config.cluster.follower_shards,
        creator_shards=config.cluster.creator_shards,
        brokers=(*known, *sorted(config.brokers.keys() - set(known))),
        cluster_id=(found.cluster_id if found is not None else "") or token_hex(16),
        streams=found.streams if found is not None else (),
    )
    for broker in known:
        if broker not in config.brokers:
            raise UsageError(
                f"data directory {data}: expected brokers.{broker}, which has "
                "orders and a journal there, found none; "
                "put it back, or use another directory"
            )
    for field in (
        ("format_version", "follower_shards", "creator_shards") if found is not None else ()
    ):
        if getattr(found, field) != getattr(wanted, field):
            raise UsageError(
                f"data directory {data}: expected {field} = "
                f"{getattr(found, field)}, as it was made with, "
                f"found {getattr(wanted, field)}; set it back, or use another directory"
            )
    return wanted


def in_shard_order(data: Path, config: Config) -> Config:
    """Return a configuration with its brokers in the order of their gateway shards in an opened
    directory.
    """
    identity = read_identity(data)
    assert identity is not None
    return msgspec.structs.replace(
        config, brokers={name: config.brokers[name] for name in identity.brokers}
    )


def note_streams(data: Path, names: Iterable[str]) -> None:
    """Note in an opened directory that the cluster has made its streams."""
    identity = read_identity(data)
    assert identity is not None
    streams = tuple(sorted({*identity.streams, *names}))
    if streams != identity.streams:
        _write_identity(data, msgspec.structs.replace(identity, streams=streams))


def _write_identity(data: Path, identity: Identity) -> None:
    stored = msgspec.json.format(msgspec.json.encode(identity)) + b"\n"
    write_private(data / "cluster.json", stored)


def _example() -> str:
    made = Identity(
        format_version=FORMAT_VERSION, follower_shards=2, creator_shards=1, brokers=("paper",)
    )
    return msgspec.json.encode(made).decode()


def read_identity(data: Path) -> Identity | None:
    """Read DIR/cluster.json; None when the directory never held a cluster. Raises: UsageError when
    it is unreadable.
    """
    path = data / "cluster.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Identity)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise UsageError(
            f"{path}: expected what the cluster was made with, found {error}. Restore the file, "
            f"or write it again: {_example()}, with the shard counts of the configuration that "
            "the directory was made with, and the brokers in the order in which they were added "
            "(sorted by name if they came together)"
        ) from None
