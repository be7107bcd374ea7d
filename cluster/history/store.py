"""The journals of a data directory: on the servers of a running cluster, or on servers that are
started here for as long as reading takes.

A stopped directory is locked as a supervisor locks it. So nobody starts a cluster on it while it is
read.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from actors.errors import OperatingError
from actors.ports import EXECUTIONS, Bus, Journal, Snapshots, Streams, journal_stream
from cluster.config.credentials import read_credentials
from cluster.config.file import read_secrets
from cluster.config.options import (
    BrokerOptions,
    ClusterOptions,
    Config,
    NatsOptions,
    PostgresOptions,
)
from cluster.config.roles import AUDITOR, User
from cluster.errors import UsageError
from cluster.processes.run_file import read_run
from cluster.running.data_directory import check_is_directory, opened, read_identity
from cluster.servers.servers import start_servers
from engine.journal.frame import SHARD_MAX, ShardKey, ShardKind
from gateways.nats.bus import NatsBus
from gateways.nats.connection import (
    JetStreamError,
    NatsConnection,
    connect_nats,
)
from gateways.nats.errors import STREAM_NOT_FOUND, api_error
from gateways.nats.journal import NatsJournal
from gateways.nats.streams import NatsStreams
from gateways.postgres.snapshots import PostgresConnectionOptions, open_postgres_snapshots

_BIG = 1 << 50


class JournalStore(NamedTuple):
    """Everything that can be read of a cluster. `bus` is None if no cluster runs, `snapshots` is
    None if there are none to read.

    `ledgers` are the directories of the paper brokers' ledgers, by broker. `brokers` are in the
    order of their gateway shards.
    """

    journal: Journal
    snapshots: Snapshots | None
    bus: Bus | None
    shards: tuple[ShardKey, ...]
    ledgers: dict[str, Path]
    brokers: tuple[str, ...]
    streams: Streams

    def of_kind(self, kind: ShardKind) -> list[int]:
        """Return the shards of a kind that have a journal."""
        return sorted(key.shard for key in self.shards if key.kind is kind)

    async def last_executions(self, shard: int) -> int:
        """Return the sequence of the last message of executions for a follower shard, 0 if there is
        none. Raises: OperatingError.
        """
        last = 0
        for broker in self.brokers:
            found = await self.streams.last_message(EXECUTIONS, f"executions.{broker}.{shard}")
            last = max(last, found.sequence if found is not None else 0)
        return last


class _StreamState(msgspec.Struct):
    subjects: dict[str, int] | None = None


class _StreamInfo(msgspec.Struct):
    state: _StreamState


@asynccontextmanager
async def opened_store(data: Path) -> AsyncIterator[JournalStore]:
    """Open the journals of a data directory, whether its cluster runs or not.

    Raises: UsageError when it never held a cluster, or one is being started or stopped there;
    ServerError; OperatingError.
    """
    check_is_directory(data)
    if read_identity(data) is None:
        raise UsageError(
            f"--data {data}: expected the data directory of a cluster, found none there"
        )
    run = read_run(data)
    async with AsyncExitStack() as stack:
        if run is not None and run.supervisor.is_alive():
            credentials = read_credentials(data)
            url, user, postgres_url = (
                credentials.nats_url,
                credentials.users[AUDITOR],
                credentials.postgres_url,
            )
        else:
            config = stored_config(data)
            run_file = stack.enter_context(opened(data, config))
            servers = await start_servers(data, config, read_secrets(), run_file)
            stack.push_async_callback(servers.stop)
            url, user, postgres_url = servers.nats_url, servers.engine, servers.postgres_url
            run = None
        connection = await _connected(url, user)
        stack.push_async_callback(connection.close)
        snapshots = await open_postgres_snapshots(PostgresConnectionOptions(dsn=postgres_url))
        stack.push_async_callback(snapshots.close)
        yield JournalStore(
            journal=NatsJournal(connection),
            snapshots=snapshots,
            bus=NatsBus(connection) if run is not None else None,
            shards=await stored_shards(connection),
            ledgers=_ledgers(data),
            brokers=_brokers(data),
            streams=NatsStreams(connection),
        )


def stored_config(data: Path) -> Config:
    """Return the configuration with which a stopped directory's own servers can be started for
    reading.

    A server that was not embedded is reached at the address of the last run. Its login comes from
    the environment, as usual.
    """
    identity = read_identity(data)
    assert identity is not None
    credentials = read_credentials(data)
    has_nats, has_postgres = (
        (data / "nats" / "store").exists(),
        (data / "postgres" / "created").exists(),
    )
    return Config(
        cluster=ClusterOptions(
            follower_shards=identity.follower_shards, creator_shards=identity.creator_shards
        ),
        # Streams reserve their largest size. It is not known here, and reading needs no limit.
        nats=NatsOptions(
            url=None if has_nats else credentials.nats_url or None, stream_bytes_max=_BIG
        ),
        postgres=PostgresOptions(url=None if has_postgres else credentials.postgres_url or None),
        brokers={name: BrokerOptions() for name in _brokers(data)},
    )


async def stored_shards(connection: NatsConnection) -> tuple[ShardKey, ...]:
    """Return every shard that has a journal, by the subjects of the journals' streams. Raises:
    OperatingError.
    """
    shards = []
    for kind in ShardKind:
        stream = journal_stream(ShardKey(kind, 0))
        answer = await connection.api(f"STREAM.INFO.{stream}", {"subjects_filter": ">"})
        if isinstance(answer, JetStreamError):
            if answer.error_code == STREAM_NOT_FOUND:
                continue
            raise api_error(*answer, f"subjects of {stream}")
        subjects = msgspec.json.decode(answer, type=_StreamInfo).state.subjects or {}
        # Only an owner's subject names a shard: another one holds foreign messages.
        shards += [
            ShardKey(kind, int(number))
            for number in (subject.rpartition(".")[2] for subject in subjects)
            if number.isascii() and number.isdecimal() and int(number) <= SHARD_MAX
        ]
    return tuple(sorted(shards))


async def _connected(url: str, user: User) -> NatsConnection:
    try:
        return await connect_nats(user.connection(url, "reader"))
    except OperatingError as error:
        raise UsageError(
            f"expected the cluster's NATS server at {url}, found none: {error}"
        ) from error


def _brokers(data: Path) -> tuple[str, ...]:
    """Return the brokers in the order of their gateway shards, or sorted if the directory does not
    say it yet.
    """
    identity = read_identity(data)
    if identity is not None and identity.brokers:
        return identity.brokers
    roles = read_credentials(data).users
    return tuple(
        sorted(role.removeprefix("broker_") for role in roles if role.startswith("broker_"))
    )


def _ledgers(data: Path) -> dict[str, Path]:
    found = sorted((data / "broker").glob("*/ledger"))
    return {path.parent.name: path.parent for path in found}
