"""One replay on a cluster of its own, from checked inputs to the results: start, open, publish in
lockstep, drain, audit, write, stop.

The cluster's data directory stays at OUT/data, so that `lockstep audit --data OUT/data` can look at
it again. Its log is in OUT/data/logs.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from cluster.config.options import Config, InstrumentLimits, MarkOptions
from cluster.config.roles import OPERATOR, broker_role
from cluster.errors import UsageError
from cluster.replay.barrier import ProgressBarrier
from cluster.replay.inputs import Inputs, InstrumentRow
from cluster.replay.lockstep import FillPublisher, PublishedFills, publish_all
from cluster.replay.opening import open_all
from cluster.running.supervisor import Cluster
from gateways.nats.connection import NatsConnection, NatsConnectionOptions, connect_nats
from gateways.nats.heard import Heard
from gateways.nats.streams import NatsStreams

BROKER = "paper"
COMMAND_S_MAX = 30.0


class ReplaySession(NamedTuple):
    """A replay's ways into the cluster: the operator's connection, the broker's, and all
    shards' progress.
    """

    operator: NatsConnection
    broker: NatsConnection
    barrier: ProgressBarrier


def replay_config(config: Config, instruments: list[InstrumentRow]) -> Config:
    """Derive the cluster's configuration: event time is the clock, instruments.csv is the table,
    and the replay's own prices count. Raises: UsageError.
    """
    for part in ("nats", "postgres"):
        if getattr(config, part).url is not None:
            raise UsageError(
                f"{part}.url: expected none, a replay starts servers of its "
                f"own; found {getattr(config, part).url!r}"
            )
    if BROKER not in config.brokers or not config.brokers[BROKER].embedded:
        raise UsageError(
            f"brokers.{BROKER}: expected an embedded paper broker for a replay, found none"
        )
    overrides = {
        row.symbol: InstrumentLimits(lot=row.lot, min_notional=row.min_notional)
        for row in instruments
    }
    table = msgspec.structs.replace(
        config.instruments, overrides={**config.instruments.overrides, **overrides}
    )
    engine = msgspec.structs.replace(config.engine, clock="event")
    return msgspec.structs.replace(config, engine=engine, instruments=table, marks=MarkOptions())


def prepare(out: Path) -> Path:
    """Make OUT and name its fresh data directory. Raises: UsageError when there is one from
    before.
    """
    data = out / "data"
    if data.exists():
        raise UsageError(
            f"--out {out}: expected no data directory in it, found that of an "
            f"earlier run; remove {data} or name another"
        )
    try:
        (data / "logs").mkdir(parents=True)
    except OSError as error:
        raise UsageError(
            f"--out {out}: expected a directory that can be made and written, found {error}"
        ) from None
    return data


@asynccontextmanager
async def connected(cluster: Cluster) -> AsyncIterator[ReplaySession]:
    """Connect to a running cluster as its operator and as its broker."""
    config = cluster.config
    heard = Heard()
    barrier = ProgressBarrier(
        heard,
        creator_shards=config.cluster.creator_shards,
        follower_shards=config.cluster.follower_shards,
        gateways=len(config.brokers),
    )
    async with AsyncExitStack() as stack:
        connections = []
        for role in (OPERATOR, broker_role(BROKER)):
            connection = await connect_nats(_login(cluster, role))
            stack.push_async_callback(connection.close)
            connections.append(connection)
        operator, broker = connections
        await heard.listen(operator)
        yield ReplaySession(operator, broker, barrier)


def _login(cluster: Cluster, role: str) -> NatsConnectionOptions:
    return cluster.credentials.users[role].connection(cluster.nats_url, f"replay-{role}")


async def open_parties(
    session: ReplaySession, inputs: Inputs, *, opened: Callable[[int], None] = lambda count: None
) -> None:
    """Open creators, accounts and subscriptions, and wait until every shard has taken them.

    `opened` is told how many subscriptions each answered request has opened. Raises: ReplayError.
    """

    async def request(subject: str, data: bytes) -> bytes:
        return (await session.operator.request(subject, data, deadline_s=COMMAND_S_MAX)).data

    await open_all(request, inputs, broker=BROKER, opened=opened)
    await session.barrier.wait_applied(0)


async def publish(
    session: ReplaySession, inputs: Inputs, *, progress: Callable[[int], None] = lambda count: None
) -> PublishedFills:
    """Publish everything in lockstep. `progress` is told how many fills are published.

    Raises: ReplayError.
    """
    publisher = FillPublisher(NatsStreams(session.broker), BROKER)
    return await publish_all(publisher, session.barrier, inputs, progress=progress)


async def drain(
    session: ReplaySession,
    published: PublishedFills,
    *,
    waiting_for: Callable[[str], None] = lambda text: None,
) -> None:
    """Wait until the cluster is drained. `waiting_for` is told what is missing.

    Raises: ReplayError.
    """
    await session.barrier.wait_drained(published.last_sequence, waiting_for=waiting_for)
