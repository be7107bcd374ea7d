"""Every option of a cluster: one frozen struct per part, each field with its unit, its bounds, one
line of documentation and a safe default. Loading, refusing and printing live in
`cluster.config.file`; secrets come from the environment only and are never fields.
"""

from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from actors.settings import ANSWER_S_MAX, OrderIds

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
ShardCount = Annotated[int, Meta(ge=1, le=4096)]
PositiveInt = Annotated[int, Meta(ge=1, le=1_000_000_000)]

MIB = 1 << 20
GIB = 1 << 30
PAYLOAD_BYTES_MAX = 8 * MIB
MICROS = 1_000_000


class DurabilityProfile(StrEnum):
    """The meaning of an acknowledgement. The operator's guide states what each profile may lose."""

    SINGLE = "single"
    DEV = "dev"
    STANDARD = "standard"
    STRICT = "strict"

    @property
    def replicas(self) -> int:
        """Copies of each stream."""
        return 3 if self in (DurabilityProfile.STANDARD, DurabilityProfile.STRICT) else 1

    @property
    def sync_always(self) -> bool:
        """True if the server must put a message on disk before it acknowledges it."""
        return self in (DurabilityProfile.SINGLE, DurabilityProfile.STRICT)


class ClusterOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Identity and size of the cluster; the shard counts are fixed when its data directory is
    created.
    """

    name: Annotated[
        Name, Meta(description="Name of the cluster, in logs and in Ray's namespace.")
    ] = "lockstep"
    follower_shards: Annotated[
        ShardCount,
        Meta(
            description="Hashed follower shards: a power of two, fixed when the cluster is created."
        ),
    ] = 2
    creator_shards: Annotated[
        ShardCount,
        Meta(
            description="Hashed creator shards: a power of two, fixed when the cluster is created."
        ),
    ] = 1
    follower_hosts: Annotated[
        PositiveInt, Meta(description="Ray actors that host the follower shards.")
    ] = 2
    creator_hosts: Annotated[
        PositiveInt, Meta(description="Ray actors that host the creator shards.")
    ] = 1


class DurabilityOptions(msgspec.Struct, frozen=True, kw_only=True):
    """When data counts as stored."""

    profile: Annotated[
        DurabilityProfile,
        Meta(
            description="single: one server, on disk before the acknowledgement; "
            "dev: one server, synced every 2 minutes; "
            "standard: 3 replicas; strict: 3 replicas, each on disk."
        ),
    ] = DurabilityProfile.SINGLE


class NatsOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Where NATS is; without a URL one is started. LOCKSTEP_NATS_USER and LOCKSTEP_NATS_PASSWORD go
    with a URL.
    """

    url: Annotated[
        str | None,
        Meta(
            description="URL of a NATS server or cluster to use, tls:// to insist "
            "on TLS; unset starts an embedded one."
        ),
    ] = None
    payload_bytes_max: Annotated[
        int,
        Meta(
            ge=4 * MIB,
            le=64 * MIB,
            description="Largest message that NATS takes, bytes; the max_payload of "
            "a server of your own must be as much.",
        ),
    ] = PAYLOAD_BYTES_MAX
    stream_bytes_max: Annotated[
        int,
        Meta(
            ge=64 * MIB,
            le=1024 * 1024 * GIB,
            description="Size of each stream at which it refuses more, "
            "bytes; nothing is ever discarded.",
        ),
    ] = 16 * GIB


class PostgresOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Where Postgres is; without a URL one is started. LOCKSTEP_POSTGRES_PASSWORD goes with a
    URL.
    """

    url: Annotated[
        str | None,
        Meta(description="URL of a Postgres database to use; unset starts an embedded one."),
    ] = None
    shared_buffers_mib: Annotated[
        int, Meta(ge=16, le=65536, description="Buffer cache of the embedded server, MiB.")
    ] = 32
    """Small, because snapshots are written once and read at a recovery only: a larger cache only
    delays writing them.
    """


class RayOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Where Ray is; without an address a local one is started. LOCKSTEP_RAY_TOKEN goes with an
    address.
    """

    address: Annotated[
        str | None, Meta(description="host:port of a Ray cluster to use; unset starts a local one.")
    ] = None
    object_store_mib: Annotated[
        int, Meta(ge=80, le=65536, description="Shared-memory object store of the local Ray, MiB.")
    ] = 256


class EngineOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Taking and copying fills."""

    part_rows: Annotated[
        int,
        Meta(
            ge=1,
            le=1 << 17,
            description="Subscriptions decided in one frame when a shard is large, rows.",
        ),
    ] = 32768
    frame_bytes_max: Annotated[
        int, Meta(ge=64 * 1024, le=4 * MIB, description="Soft cap of one journal frame, bytes.")
    ] = MIB
    entry_window_s: Annotated[
        int,
        Meta(
            ge=1,
            le=86_400,
            description="Age of a fill beyond which increases are skipped, seconds of event time.",
        ),
    ] = 60
    slippage_cap_micros: Annotated[
        int,
        Meta(
            ge=0,
            lt=MICROS,
            description="Limit price's distance from the fill's price, micros (5000 = 0.5 %).",
        ),
    ] = 5000
    reports_wait_ms: Annotated[
        int,
        Meta(
            ge=0,
            le=1000,
            description="Longest wait of executions after a frame, to share "
            "the next signal's, ms; 0: no wait.",
        ),
    ] = 10
    poison_crashes: Annotated[
        int,
        Meta(
            ge=2,
            le=100,
            description="Crashes of a shard at one input without progress, "
            "after which the next owner quarantines that input.",
        ),
    ] = 3
    clock: Annotated[
        Literal["wall", "event"],
        Meta(
            description="Where event time comes from: wall (live) or event "
            "(the publisher's times, for replay)."
        ),
    ] = "wall"


class SnapshotOptions(msgspec.Struct, frozen=True, kw_only=True):
    """When the state of a shard is stored in Postgres: whichever limit is reached first."""

    frames_every: Annotated[
        PositiveInt, Meta(description="Frames between two snapshots of a shard.")
    ] = 1000
    seconds_every: Annotated[
        PositiveInt, Meta(description="Seconds between two snapshots of a shard that changed.")
    ] = 30


class SupervisionOptions(msgspec.Struct, frozen=True, kw_only=True):
    """When a part counts as gone, and how fast it is started again."""

    heartbeat_missing_ms_max: Annotated[
        int,
        Meta(
            ge=600,
            le=600_000,
            description="Silence after which a host is replaced, ms; it speaks every 200.",
        ),
    ] = 3000
    server_silent_s_max: Annotated[
        int,
        Meta(
            ge=1,
            le=3600,
            description="Silence after which a server is ended and started again, seconds.",
        ),
    ] = 10
    start_s_max: Annotated[
        int,
        Meta(ge=1, le=3600, description="Time a server or a host has to become ready, seconds."),
    ] = 60
    stop_s_max: Annotated[
        int,
        Meta(
            ge=1,
            le=600,
            description="Time a part has to stop by itself before it is killed, seconds.",
        ),
    ] = 10
    restart_ms_min: Annotated[
        int,
        Meta(
            ge=1,
            le=60_000,
            description="First pause before a part is started again, "
            "ms; doubles up to the largest.",
        ),
    ] = 50
    restart_ms_max: Annotated[
        int, Meta(ge=1, le=600_000, description="Largest pause before a part is started again, ms.")
    ] = 2000
    free_bytes_min: Annotated[
        int,
        Meta(
            ge=MIB,
            le=1024 * GIB,
            description="Free space of the data directory's disk below which an alarm says so, "
            "bytes; it ends at twice that.",
        ),
    ] = 128 * MIB


class BrokerFormat(StrEnum):
    """The format of the messages between a gateway and its broker's program."""

    BINARY = "binary"
    JSON = "json"


class BrokerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """One broker, reached over the broker protocol; the embedded ones are paper brokers."""

    embedded: Annotated[
        bool, Meta(description="Whether the cluster starts a paper broker of this name itself.")
    ] = True
    fee_rate_micros: Annotated[
        int,
        Meta(ge=0, lt=MICROS, description="Paper broker's fee as a share of the notional, micros."),
    ] = 0
    slippage_micros: Annotated[
        int,
        Meta(
            ge=0,
            lt=MICROS,
            description="Paper broker's price against the order, share of the mark, micros.",
        ),
    ] = 0
    fill_delay_ms: Annotated[
        int,
        Meta(
            ge=0,
            le=3_600_000,
            description="Time the paper broker leaves an order open before each fill, ms.",
        ),
    ] = 0
    partial_fill_slices: Annotated[
        int, Meta(ge=1, le=10, description="Executions in which the paper broker fills an order.")
    ] = 1
    reject_ratio_micros: Annotated[
        int,
        Meta(ge=0, le=MICROS, description="Share of orders that the paper broker rejects, micros."),
    ] = 0
    duplicate_executions: Annotated[
        bool,
        Meta(description="Whether the paper broker publishes every execution twice, to test with."),
    ] = False
    lost_answers_ratio_micros: Annotated[
        int,
        Meta(
            ge=0,
            lt=MICROS,
            description="Share of the paper broker's answers lost, to test with, micros.",
        ),
    ] = 0
    format: Annotated[
        BrokerFormat,
        Meta(
            description="How orders go to the broker and its answers come: binary (blocks) or "
            "json (messages of at most 100 orders). An embedded paper broker takes binary."
        ),
    ] = BrokerFormat.BINARY
    order_ids: Annotated[
        OrderIds,
        Meta(
            description="What the broker does with an order id it has: refused (never "
            "placed twice); looked_up (it says which it has); "
            "unchecked (neither: orders without an answer stay unresolved). "
            "Change it only while no order is under way."
        ),
    ] = OrderIds.REFUSED
    answer_s_max: Annotated[
        int,
        Meta(
            ge=1,
            le=86_400,
            description="Time the broker has to answer a block, to report the end of an expired "
            "or cancelled order, and to report anything of an exit, s. Then it is asked again, "
            "and an alarm tells of it.",
        ),
    ] = ANSWER_S_MAX
    accepted_ledger: Annotated[
        str,
        Meta(
            max_length=64,
            description="The broker's ledger to go on with although it does not have what the one "
            "before had, by the name in the alarm history_contradicted; empty for none.",
        ),
    ] = ""
    orders_per_s_max: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000_000,
            description="Orders the gateway sends to this broker a second; 0 sets no limit.",
        ),
    ] = 0


class MarkOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Whose prices positions are valued at."""

    source: Annotated[
        str,
        Meta(
            description="The only source whose marks are taken, for all brokers: a broker, or "
            "market_data; empty: each broker's marks value its own creators.",
        ),
    ] = ""


class InstrumentLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of one instrument that differ from the default."""

    lot: Annotated[
        str | None, Meta(description="Smallest quantity step of this instrument, decimal text.")
    ] = None
    min_notional: Annotated[
        str | None,
        Meta(description="Smallest notional of an increase in this instrument, decimal text."),
    ] = None
    denied: Annotated[
        bool, Meta(description="Whether to skip every increase in this instrument; exits go on.")
    ] = False


class InstrumentOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of all instruments. Decimals are text, so that they are read exactly."""

    lot: Annotated[str, Meta(description="Smallest quantity step, decimal text.")] = "0.000001"
    min_notional: Annotated[
        str, Meta(description="Smallest notional of an increase, decimal text.")
    ] = "1.00"
    overrides: Annotated[
        dict[str, InstrumentLimits],
        Meta(description="Symbols that differ: [instruments.overrides.SYMBOL]."),
    ] = msgspec.field(default_factory=dict)


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """A whole configuration. `cluster.config.file.load` makes one and also refuses fields that
    contradict each other.
    """

    cluster: ClusterOptions = ClusterOptions()
    durability: DurabilityOptions = DurabilityOptions()
    nats: NatsOptions = NatsOptions()
    postgres: PostgresOptions = PostgresOptions()
    ray: RayOptions = RayOptions()
    engine: EngineOptions = EngineOptions()
    snapshot: SnapshotOptions = SnapshotOptions()
    supervision: SupervisionOptions = SupervisionOptions()
    brokers: dict[str, BrokerOptions] = msgspec.field(
        default_factory=lambda: {"paper": BrokerOptions()}
    )
    marks: MarkOptions = MarkOptions()
    instruments: InstrumentOptions = InstrumentOptions()
