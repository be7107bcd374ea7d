"""A running cluster: servers, Ray, brokers and hosts, started in order, kept running, stopped in
reverse order.

    servers (NATS, Postgres) -> watch over the disk -> streams -> Ray -> paper brokers
    -> hosts of the placement plan

The supervisor owns processes, never shards: the journal settles which host's decisions count.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec
import structlog

from actors.errors import OperatingError
from actors.host.host import HostSpec
from actors.ports import INGRESS, Request
from actors.retry import retry_until_done
from actors.shard.disk_trouble import SUBJECT as DISK_SUBJECT
from actors.shard.progress import SUPERVISOR, HostHeartbeat, ShardProgress
from cluster.config.credentials import Credentials
from cluster.config.file import Secrets, read_secrets
from cluster.config.options import Config
from cluster.placement.hosts import HostKeeper
from cluster.placement.kinds import PLACED_KINDS
from cluster.placement.plan import planned
from cluster.placement.ray_cluster import RayHost
from cluster.placement.ray_keeper import RayKeeper
from cluster.placement.ray_start import start_ray
from cluster.processes.cancellation import checkpoint, to_the_end
from cluster.processes.kept_program import ChildProgram, ProgramSpec
from cluster.processes.run_file import RunFile
from cluster.running.data_directory import (
    in_shard_order,
    note_streams,
    opened,
    read_identity,
)
from cluster.running.disk_watch import DiskWatch, FailedWrites
from cluster.running.wiring import (
    STREAMS,
    broker_names,
    connection_options,
    nats_options,
    shard_settings,
    stream_settings,
    write_paper_broker_config,
)
from cluster.servers.nats_server import NATS
from cluster.servers.servers import Servers, start_servers
from gateways.nats.bus import NatsBus
from gateways.nats.connection import NatsConnection, connect_nats
from gateways.nats.streams import ensure_stream, hold_stream

_log = structlog.get_logger()


class Cluster:
    """A cluster that runs; made by `running_cluster`."""

    def __init__(
        self,
        data: Path,
        config: Config,
        servers: Servers,
        keeper: HostKeeper,
        programs: tuple[ChildProgram, ...],
    ) -> None:
        self.data = data
        self.config = config
        self.keeper = keeper
        self.programs = programs
        self.nats_url = servers.nats_url
        self.postgres_url = servers.postgres_url
        self.credentials: Credentials = servers.credentials


@asynccontextmanager
async def running_cluster(data: Path, config: Config) -> AsyncIterator[Cluster]:
    """Start a cluster on a data directory, wait until every shard is live, and stop everything at
    the end.

    Raises: UsageError, ServerError. When it fails or is cancelled, nothing of it runs, however far
    the start had come.
    """
    secrets = read_secrets()
    with opened(data, config) as run_file:
        stack = AsyncExitStack()
        try:
            yield await _started(data, in_shard_order(data, config), secrets, run_file, stack)
        finally:
            await to_the_end(stack.aclose())


async def _started(
    data: Path, config: Config, secrets: Secrets, run_file: RunFile, stack: AsyncExitStack
) -> Cluster:
    """Start everything. At each moment the stack knows how to stop what runs by then."""
    servers = await start_servers(data, config, secrets, run_file)
    stack.push_async_callback(servers.stop)
    connection = await connect_nats(nats_options(servers, "supervisor"))
    stack.push_async_callback(connection.close)
    _watch_disk(data, config, servers, connection, stack)
    connection.check_payload(config.nats.payload_bytes_max)
    identity = read_identity(data)
    assert identity is not None
    for settings in stream_settings(config, identity.cluster_id):
        await ensure_stream(connection, settings, is_known=settings.name in identity.streams)
        checkpoint()
    note_streams(data, STREAMS)
    ray = RayKeeper(
        lambda: start_ray(data, config, servers.credentials, secrets, run_file), config.supervision
    )
    stack.push_async_callback(ray.stop)
    await ray.start()
    brokers = [_broker(data, config, servers, run_file, name) for name in broker_names(config)]
    started = tuple(broker for broker in brokers if broker is not None)
    for broker in started:
        stack.push_async_callback(broker.stop)
        await broker.start()
    keeper = _keeper(config, identity.cluster_id, servers, connection, ray)
    stack.push_async_callback(keeper.stop)
    await _listen(NatsBus(connection), keeper)
    checkpoint()
    keeper.place(planned(config))
    ray.watch(keeper)
    stack.push_async_callback(ray.stop_watching)
    await keeper.wait_live()
    return Cluster(data, config, servers, keeper, (*servers.programs, *started))


def _watch_disk(
    data: Path,
    config: Config,
    servers: Servers,
    connection: NatsConnection,
    stack: AsyncExitStack,
) -> None:
    """Watch the disk from now on. Its trouble is told as hosts tell theirs, by core NATS, which
    goes on when nothing can be written.
    """
    nats = next((program for program in servers.programs if program.program.name == NATS), None)
    watch = DiskWatch(
        data,
        config.supervision.free_bytes_min,
        has_failed=FailedWrites(nats.program.log_path).found if nats else lambda: False,
        restart=nats.restart if nats else None,
        hold=lambda is_held: hold_stream(connection, INGRESS, is_held=is_held),
    )

    async def tell(trouble: str) -> None:
        heartbeat = HostHeartbeat(SUPERVISOR, SUPERVISOR, os.getpid(), {}, trouble)
        with contextlib.suppress(OperatingError):
            await connection.publish(DISK_SUBJECT, msgspec.json.encode(heartbeat))

    watching = asyncio.create_task(watch.run(tell), name="watch disk")

    async def stop() -> None:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)

    stack.push_async_callback(stop)


def _broker(
    data: Path, config: Config, servers: Servers, run_file: RunFile, name: str
) -> ChildProgram | None:
    if not config.brokers[name].embedded:
        return None
    path = write_paper_broker_config(data, config, servers, name)

    async def ready() -> bool:
        # The broker waits for NATS itself, and its gateway waits for the broker.
        return True

    program = ProgramSpec(
        name=f"broker-{name}",
        argv=(sys.executable, "-m", "gateways.brokers.paper", "--config", str(path)),
        log_path=data / "logs" / f"broker-{name}.log",
        ready=ready,
    )
    return ChildProgram(program, run_file, config.supervision)


def _keeper(
    config: Config,
    cluster_id: str,
    servers: Servers,
    connection: NatsConnection,
    ray: RayKeeper,
) -> HostKeeper:
    settings = shard_settings(config, cluster_id)

    def start(spec: HostSpec) -> RayHost:
        return ray.start_host(spec, connection_options(config, servers, spec.incarnation))

    def spec(kind: str, shards: tuple[int, ...], incarnation: str) -> HostSpec:
        return HostSpec(kind, shards, incarnation, settings)

    return HostKeeper(start, spec, config.supervision, is_connected=lambda: connection.is_connected)


async def _listen(bus: NatsBus, keeper: HostKeeper) -> None:
    def hear_host(request: Request) -> None:
        keeper.hear_host(msgspec.json.decode(request.data, type=HostHeartbeat))

    def hear_shard(request: Request) -> None:
        keeper.hear_shard(msgspec.json.decode(request.data, type=ShardProgress))

    await retry_until_done("heartbeats", lambda: bus.subscribe("hosts.*", hear_host))
    for placed in PLACED_KINDS:
        if placed.has_dedicated:
            subject = f"heads.{placed.name}.*"
            await retry_until_done("progress", partial(bus.subscribe, subject, hear_shard))
