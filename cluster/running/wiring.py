"""Wiring: the configuration turned into the options of each part: streams, shards, connections,
brokers.
"""

from pathlib import Path

import msgspec

from actors.ports import DEADLETTER, EXECUTIONS, INGRESS, journal_stream
from actors.settings import ShardSettings
from cluster.config.options import BrokerFormat, Config
from cluster.config.roles import ENGINE, broker_role
from cluster.placement.kinds import PLACED_KINDS
from cluster.servers.servers import Servers
from engine.journal.frame import ShardKey
from engine.values.copy_policy import CopyPolicy
from engine.values.instruments import InstrumentTerms
from engine.values.units import NS_PER_S, money_micros, quantity_e8
from gateways.brokers.paper.settings import PaperBrokerConfig
from gateways.connections import ConnectionOptions
from gateways.json.orders import ORDERS_MAX
from gateways.nats.connection import NatsConnectionOptions
from gateways.nats.logins import LoginFile
from gateways.nats.streams import StreamSettings
from gateways.postgres.snapshots import PostgresConnectionOptions

STREAMS = {
    INGRESS: ("fills.>", "marks.>"),
    EXECUTIONS: ("executions.>",),
    **{
        journal_stream(ShardKey(placed.kind, 0)): (f"journal.{placed.name}.*",)
        for placed in PLACED_KINDS
    },
    DEADLETTER: ("deadletter.>",),
}
_SHARED = (INGRESS, EXECUTIONS)
_SHARED_WINDOW_MS = 100
"""All brokers write to these streams, and NATS keeps message ids per stream. So one broker could
take another's id. NATS cannot forget ids at once: this is the least time that it takes.
"""


def stream_settings(config: Config, cluster_id: str = "") -> list[StreamSettings]:
    """Return the settings of every stream of a cluster."""
    return [
        StreamSettings(
            name=name,
            subjects=subjects,
            bytes_max=config.nats.stream_bytes_max,
            replicas=config.durability.profile.replicas,
            cluster_id=cluster_id,
            **({"duplicate_window_ms": _SHARED_WINDOW_MS} if name in _SHARED else {}),
        )
        for name, subjects in STREAMS.items()
    ]


def shard_settings(config: Config, cluster_id: str = "") -> ShardSettings:
    """Return the settings that all shards of a cluster share."""
    engine, instruments = config.engine, config.instruments
    default = InstrumentTerms(quantity_e8(instruments.lot), money_micros(instruments.min_notional))
    return ShardSettings(
        creator_shards=config.cluster.creator_shards,
        follower_shards=config.cluster.follower_shards,
        brokers=broker_names(config),
        orders_per_s_max={
            name: broker.orders_per_s_max
            for name, broker in config.brokers.items()
            if broker.orders_per_s_max
        },
        answer_s_max={name: broker.answer_s_max for name, broker in config.brokers.items()},
        message_orders_max=dict.fromkeys(json_brokers(config), ORDERS_MAX),
        order_ids={name: broker.order_ids for name, broker in config.brokers.items()},
        marks_source=config.marks.source,
        cluster_id=cluster_id,
        accepted_ledgers={
            name: broker.accepted_ledger
            for name, broker in config.brokers.items()
            if broker.accepted_ledger
        },
        uses_event_clock=engine.clock == "event",
        part_rows=engine.part_rows,
        frame_bytes_max=engine.frame_bytes_max,
        # A replay sends the next fill only once nothing moves, so waiting for a signal is in vain.
        reports_wait_s=0 if engine.clock == "event" else engine.reports_wait_ms / 1000,
        poison_crashes=engine.poison_crashes,
        snapshot_frames_every=config.snapshot.frames_every,
        snapshot_seconds_every=config.snapshot.seconds_every,
        policy=CopyPolicy(
            entry_window_ns=engine.entry_window_s * NS_PER_S,
            slippage_cap=engine.slippage_cap_micros,
            fee_rate=max((broker.fee_rate_micros for broker in config.brokers.values()), default=0),
            denied=frozenset(
                symbol for symbol, limits in instruments.overrides.items() if limits.denied
            ),
        ),
        default_instrument=default,
        instruments={
            symbol: InstrumentTerms(
                quantity_e8(limits.lot) if limits.lot is not None else default.lot,
                money_micros(limits.min_notional)
                if limits.min_notional is not None
                else default.min_notional,
            )
            for symbol, limits in instruments.overrides.items()
        },
    )


def broker_names(config: Config) -> tuple[str, ...]:
    """Return the brokers' names in the order of their gateway shards."""
    return tuple(config.brokers)


def json_brokers(config: Config) -> frozenset[str]:
    """Return the names of the brokers that read and write JSON."""
    return frozenset(
        name for name, broker in config.brokers.items() if broker.format is BrokerFormat.JSON
    )


def nats_options(servers: Servers, name: str) -> NatsConnectionOptions:
    """Return the NATS login of the engine's own processes."""
    return msgspec.structs.replace(
        servers.engine.connection(servers.nats_url, name),
        login=LoginFile(servers.credentials_path, ENGINE),
    )


def connection_options(config: Config, servers: Servers, name: str) -> ConnectionOptions:
    """Return the options with which a host connects to the outside."""
    return ConnectionOptions(
        nats=nats_options(servers, name),
        postgres=PostgresConnectionOptions(dsn=servers.postgres_url),
        brokers=broker_names(config),
        json_brokers=json_brokers(config),
    )


def paper_broker_config(data: Path, config: Config, servers: Servers, name: str) -> bytes:
    """Return the content of a paper broker's configuration file."""
    options, user = config.brokers[name], servers.credentials.users[broker_role(name)]
    return msgspec.json.encode(
        PaperBrokerConfig(
            name=name,
            ledger_dir=str(broker_directory(data, name)),
            nats_url=servers.nats_url,
            user=user.user,
            password=user.password,
            inbox_prefix=user.inbox_prefix,
            credentials_path=servers.credentials_path,
            clock=config.engine.clock,
            fee_rate_micros=options.fee_rate_micros,
            slippage_micros=options.slippage_micros,
            fill_delay_ms=options.fill_delay_ms,
            partial_fill_slices=options.partial_fill_slices,
            reject_ratio_micros=options.reject_ratio_micros,
            duplicate_executions=options.duplicate_executions,
            order_ids=options.order_ids.value,
            lost_answers_ratio_micros=options.lost_answers_ratio_micros,
        )
    )


def write_paper_broker_config(data: Path, config: Config, servers: Servers, name: str) -> Path:
    """Write a paper broker's configuration file, which only its owner can read. Returns: its
    path.
    """
    directory = broker_directory(data, name)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / "config.json"
    path.touch(mode=0o600)
    path.write_bytes(paper_broker_config(data, config, servers, name))
    return path


def broker_directory(data: Path, name: str) -> Path:
    """Return the directory of a paper broker's ledger."""
    return data / "broker" / name
