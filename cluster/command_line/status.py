"""`lockstep status`: the servers and actors of a running cluster, from run.json and from what
shards and hosts say on NATS.

JSON, keys stable, a field that is not known null:

    data         the data directory
    supervisor   {pid, state}
    servers      [{name, pid, address, restarts, state}]     state: running or down
    streams      [{name, messages, bytes, bytes_max}]        bytes_max: null without a limit
    actors       [{kind, incarnation, pid, state, error, shards: [...], alarms}]
    shards       [{shard, epoch, frame, state, lag, counts, trouble}]  of each actor
    alarms       [{name, count, time}]  of each actor: how often, and when last
    trouble      what the supervisor says is wrong with the disk; empty when nothing is

A shard's state is its phase (starting, fencing, replaying, live, lost, failed, crashed, stopped),
or silent when nothing was heard of it, or blocked when it is live and cannot do its work; `trouble`
says why. While the disk is in trouble, every live shard is blocked. An actor's is that of its shard
furthest from live. `lag` says how far a shard is behind each input: `ingress` and `executions` in
messages, `creator` in frames of the creator journals, `orders` in orders not answered by the broker
yet. Among the `counts` are `inputs_quarantined`, and `suspended_creators`, whose entries are not
copied.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from actors.counters import Counters
from actors.errors import OperatingError
from actors.ports import EXECUTIONS, INGRESS
from actors.shard.progress import SUPERVISOR, HostAlarm, ShardProgress
from actors.shard.recovery import Phase
from cluster.config.credentials import Credentials, read_credentials
from cluster.config.roles import AUDITOR
from cluster.errors import ClusterError
from cluster.placement.kinds import KIND_NAMES
from cluster.processes.run_file import (
    SERVER_ROLE,
    DirectoryLock,
    ProcessRecord,
    RunRecord,
    read_run,
)
from cluster.running.data_directory import check_is_directory, read_identity
from engine.journal.cursors import Source
from gateways.nats.connection import (
    JetStreamError,
    NatsConnection,
    connect_nats,
)
from gateways.nats.heard import Heard
from gateways.nats.stream_usage import StreamUsage, read_stream_usages

RUNNING = "running"
LISTEN_S = 0.5
"""Two heartbeats and a half: every live shard and host has spoken by then."""
CONNECT_S_MAX = 2.0
RAY_NAMES = {"driver": "ray-driver", "gcs_server": "ray-gcs", "raylet": "ray-raylet"}
ADDRESSES = {"ray-gcs": "ray"}
"""Servers whose address stands under another name in run.json."""
STATES = (
    "failed",
    "crashed",
    "lost",
    "silent",
    "blocked",
    "stopped",
    "starting",
    "fencing",
    "replaying",
    "live",
)
"""From the worst to the best."""


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """A program that the supervisor keeps running."""

    name: str
    pid: int
    address: str | None
    restarts: int
    state: str


class Shard(msgspec.Struct, frozen=True, kw_only=True):
    """One shard as it told of itself."""

    shard: int
    epoch: int | None
    frame: int | None
    state: str
    lag: dict[str, int]
    counts: Counters
    trouble: str = ""


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """One host process; a shard that nobody was heard to host has one without a process."""

    kind: str
    incarnation: str | None
    pid: int | None
    state: str
    error: str
    shards: list[Shard]
    alarms: list[HostAlarm] = []


class ClusterStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The status as `lockstep status --json` prints it."""

    data: str
    supervisor: dict[str, Any]
    servers: list[Server]
    streams: list[StreamUsage]
    actors: list[Actor]
    trouble: str = ""

    @property
    def is_well(self) -> bool:
        """True if every server runs, every shard is live, and nothing keeps one from its work."""
        is_up = all(server.state == RUNNING for server in self.servers)
        is_live = all(actor.state == Phase.LIVE.value for actor in self.actors)
        return is_up and is_live and not self.trouble


def run(data: Path, *, as_json: bool, show: Callable[[ClusterStatus], None]) -> int:
    """Show a running cluster, as JSON or by `show`. Returns: the exit code, 0 when everything runs
    and does its work, else 1.

    Raises: ClusterError when none runs there.
    """
    status = asyncio.run(read_status(data))
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(status)).decode())
    else:
        show(status)
    return 0 if status.is_well else 1


async def read_status(data: Path) -> ClusterStatus:
    """Read the status of a cluster. Raises: ClusterError when none runs there. Cost: half a
    second of listening.
    """
    check_is_directory(data)
    found = read_run(data)
    if found is None and (holder := DirectoryLock(data).holder()) is not None:
        raise ClusterError(
            f"{data}: expected a running cluster, found process "
            f"{holder.pid} only beginning to start one; ask again"
        )
    if found is None:
        raise ClusterError(
            f"{data}: expected a running cluster, found none; start "
            f"it with: lockstep up --data {data}"
        )
    if not found.supervisor.is_alive():
        raise ClusterError(
            f"{data}: expected a running cluster, found what a killed one "
            "left; lockstep up or lockstep down clears it"
        )
    credentials = read_credentials(data)
    heard, last, streams = await _hear(found, credentials)
    return ClusterStatus(
        data=str(data),
        supervisor={"pid": found.supervisor.pid, "state": RUNNING},
        servers=_servers(found),
        streams=streams,
        actors=actors_of(heard, last, _expected(data, heard)),
        trouble=trouble_of(heard),
    )


def trouble_of(heard: Heard) -> str:
    """Return what the supervisor was heard to say is wrong; empty when nothing is."""
    supervisor = heard.hosts.get(SUPERVISOR)
    return supervisor.error if supervisor is not None else ""


async def _hear(
    found: RunRecord, credentials: Credentials
) -> tuple[Heard, dict[str, int], list[StreamUsage]]:
    """Listen to shards and hosts, and ask for the streams.

    Returns: what was heard, the last sequences of what shards read, and the disk use of streams;
    nothing while NATS is away.
    """
    heard, user = Heard(), credentials.users[AUDITOR]
    if not credentials.nats_url:
        # The first start of this directory has not come so far.
        return heard, {}, []
    options = msgspec.structs.replace(
        user.connection(credentials.nats_url, "status"),
        connect_deadline_s=CONNECT_S_MAX,
        request_deadline_s=CONNECT_S_MAX,
    )
    try:
        connection = await connect_nats(options)
    except OperatingError:
        return heard, {}, []
    try:
        await heard.listen(connection)
        await asyncio.sleep(LISTEN_S)
        followers = [shard for kind, shard in heard.shards if kind == "follower"]
        last = await _last_sequences(connection, followers)
        return heard, last, await read_stream_usages(connection)
    except OperatingError:
        return heard, {}, []
    finally:
        await connection.close()


async def _last_sequences(connection: NatsConnection, followers: list[int]) -> dict[str, int]:
    last = {"ingress": await _last_sequence(connection, INGRESS, ">")}
    for shard in followers:
        subject = f"executions.*.{shard}"
        last[subject] = await _last_sequence(connection, EXECUTIONS, subject)
    return last


async def _last_sequence(connection: NatsConnection, stream: str, subject: str) -> int:
    answer = await connection.api(f"STREAM.MSG.GET.{stream}", {"last_by_subj": subject})
    if isinstance(answer, JetStreamError):
        # The subject has no message yet.
        return 0
    return int(msgspec.json.decode(answer)["message"]["seq"])


def _servers(found: RunRecord) -> list[Server]:
    named = [(_server_name(record), record) for record in found.processes]
    return [
        Server(
            name=name,
            pid=record.pid,
            address=found.addresses.get(ADDRESSES.get(name, name)),
            restarts=record.restarts,
            state=RUNNING if record.is_alive() else "down",
        )
        for name, record in named
        if name
    ]


def _server_name(record: ProcessRecord) -> str:
    """Return a server's name; empty for a process that works for one (Ray's agents and workers)."""
    if record.role == SERVER_ROLE:
        return record.name
    return RAY_NAMES.get(record.name.rpartition("-")[0] or record.name, "")


def _expected(data: Path, heard: Heard) -> list[tuple[str, int]]:
    """Return the shards that should be there: the hashed ones, the brokers' gateways, and those
    of dedicated accounts, which their home shards name.
    """
    identity = read_identity(data)
    assert identity is not None
    dedicated = sorted(
        {shard for progress in heard.shards.values() for shard in progress.dedicated}
    )
    return [
        *(("creator", shard) for shard in range(identity.creator_shards)),
        *(("follower", shard) for shard in [*range(identity.follower_shards), *dedicated]),
        *(("gateway", shard) for shard in range(len(identity.brokers))),
    ]


def actors_of(heard: Heard, last: dict[str, int], expected: list[tuple[str, int]]) -> list[Actor]:
    """Return the hosts that were heard, and the expected shards that no host was heard of.
    `last` are the last sequences of the inputs.
    """
    actors: list[Actor] = []
    missing = set(expected)
    for host in heard.hosts.values():
        if host.kind == SUPERVISOR:
            continue
        keys = [(host.kind, int(shard)) for shard in host.shards]
        # A superseded host may still be heard: it is shown with what it says of itself.
        missing -= {key for key in keys if key in heard.shards}
        shards = [_shard(key, host.shards[str(key[1])], heard, last) for key in keys]
        actors.append(
            Actor(
                kind=host.kind,
                incarnation=host.incarnation,
                pid=host.pid,
                state=_worst([shard.state for shard in shards]),
                error=host.error,
                shards=shards,
                alarms=list(host.alarms),
            )
        )
    for kind, shard in sorted(missing):
        silent = Shard(
            shard=shard, epoch=None, frame=None, state="silent", lag={}, counts=Counters()
        )
        actors.append(
            Actor(kind=kind, incarnation=None, pid=None, state="silent", error="", shards=[silent])
        )
    return sorted(
        actors,
        key=lambda actor: (KIND_NAMES.index(actor.kind), [shard.shard for shard in actor.shards]),
    )


def _worst(states: list[str]) -> str:
    return min(states, key=STATES.index, default="starting")


def _shard(key: tuple[str, int], phase: str, heard: Heard, last: dict[str, int]) -> Shard:
    progress = heard.shards.get(key)
    if phase == Phase.LIVE.value and trouble_of(heard):
        phase = "blocked"
    if progress is None:
        return Shard(shard=key[1], epoch=None, frame=None, state=phase, lag={}, counts=Counters())
    is_blocked = phase == Phase.LIVE.value and bool(progress.trouble)
    return Shard(
        shard=key[1],
        epoch=progress.epoch,
        frame=progress.number,
        state="blocked" if is_blocked else phase,
        lag=_lag(progress, heard, last),
        counts=progress.counts,
        trouble=progress.trouble,
    )


def _lag(progress: ShardProgress, heard: Heard, last: dict[str, int]) -> dict[str, int]:
    if progress.kind == "gateway":
        return {"orders": progress.counts.queued_orders or 0}
    sequences = {(cursor.source, cursor.shard): cursor for cursor in progress.cursors}

    def behind(source: Source, subject: str) -> int:
        cursor = sequences.get((source.name.lower(), 0))
        return max(0, last.get(subject, 0) - (cursor.sequence if cursor else 0))

    if progress.kind == "creator":
        return {"ingress": behind(Source.INGRESS, "ingress")}
    frames = 0
    for kind, shard in heard.shards:
        if kind == "creator":
            cursor = sequences.get((Source.CREATOR_JOURNAL.name.lower(), shard))
            frames += max(0, heard.shards[kind, shard].number - (cursor.number if cursor else 0))
    return {
        "creator": frames,
        "executions": behind(Source.EXECUTIONS, f"executions.*.{progress.shard}"),
    }
