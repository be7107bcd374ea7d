"""Checks of a whole configuration: fields that contradict each other, and texts that are no numbers
or addresses where one is expected.
"""

from collections.abc import Iterator
from urllib.parse import urlsplit

from cluster.config.options import BrokerFormat, Config
from cluster.config.printing import masked
from engine.values.ids import is_id
from engine.values.units import UnitError, money_micros, quantity_e8

MARKET_DATA = "market_data"
"""The source of marks that is nobody's broker."""
ROLES = ("engine", "operator", "auditor", MARKET_DATA)
"""Roles that are no broker's. `cluster.config.roles` says what they may do; it needs NATS's client,
which a refused configuration is not worth loading.
"""
PART_ROW_BYTES = 24
"""The most that one subscription takes in the frame of a part."""


def contradictions(config: Config) -> Iterator[str]:
    """Yield contradictions between fields, and texts that are no numbers where one is expected."""
    for name in ("follower_shards", "creator_shards"):
        count = getattr(config.cluster, name)
        if count & (count - 1):
            yield f"cluster.{name}: expected a power of two, found {count}"
    for kind in ("follower", "creator"):
        hosts, shards = (
            getattr(config.cluster, f"{kind}_hosts"),
            getattr(config.cluster, f"{kind}_shards"),
        )
        if hosts > shards:
            yield (
                f"cluster.{kind}_hosts: expected at most "
                f"cluster.{kind}_shards = {shards}, found {hosts}"
            )
    profile = config.durability.profile
    if profile.replicas > 1 and config.nats.url is None:
        yield (
            "durability.profile: expected 'single' or 'dev' with an "
            f"embedded NATS server, found {profile.value!r}; "
            "set nats.url to a NATS cluster of at least three servers"
        )
    yield from _wrong_addresses(config)
    if not config.brokers:
        yield "brokers: expected at least one broker, found none"
    yield from _wrong_brokers(config)
    source, sources = config.marks.source, (MARKET_DATA, *config.brokers)
    if source and source not in sources:
        yield (
            f"marks.source: expected one of {', '.join(sources)}, found {source!r}; leave it out to"
            " take each broker's own marks"
        )
    supervision = config.supervision
    if supervision.restart_ms_max < supervision.restart_ms_min:
        yield (
            "supervision.restart_ms_max: expected at least "
            f"restart_ms_min = {supervision.restart_ms_min}, "
            f"found {supervision.restart_ms_max}"
        )
    if config.engine.frame_bytes_max > config.nats.payload_bytes_max // 2:
        yield (
            "engine.frame_bytes_max: expected at most half of nats.payload_bytes_max "
            f"({config.nats.payload_bytes_max // 2}), found {config.engine.frame_bytes_max}"
        )
    room = (config.nats.payload_bytes_max - config.engine.frame_bytes_max) // PART_ROW_BYTES
    if config.engine.part_rows > room:
        yield (
            f"engine.part_rows: expected at most {room}, what nats.payload_bytes_max "
            "has room for beside engine.frame_bytes_max, "
            f"found {config.engine.part_rows}"
        )
    yield from _wrong_decimals(config)


def _wrong_brokers(config: Config) -> Iterator[str]:
    for name, broker in config.brokers.items():
        if not is_id(name):
            yield f"brokers.{name}: expected a name of 1 to 64 of A-Z a-z 0-9 _ -, found {name!r}"
        if name in ROLES:
            yield (
                f"brokers.{name}: expected a name that is no role ({', '.join(ROLES)}), "
                f"found {name!r}; the role of that name has other rights on NATS, and "
                "market_data's marks are on the broker's own subject"
            )
        if broker.embedded and broker.format is not BrokerFormat.BINARY:
            yield (
                f"brokers.{name}.format: expected 'binary' for the embedded paper broker, found "
                f"{broker.format.value!r}; set brokers.{name}.embedded = false for a program of "
                "your own"
            )


def _wrong_addresses(config: Config) -> Iterator[str]:
    for url in config.nats.url.split(",") if config.nats.url is not None else ():
        if not _is_url(url, ("nats", "tls"), needs_host=True):
            yield (
                "nats.url: expected nats:// or tls://host:4222, or several "
                f"separated by commas, found {masked(url)!r}; "
                "leave it out to start an embedded server"
            )
    database = config.postgres.url
    if database is not None and not _is_url(database, ("postgresql", "postgres"), needs_host=False):
        yield (
            "postgres.url: expected "
            f"postgresql://user@host:5432/database, found {masked(database)!r}; "
            "leave it out to start an embedded server"
        )
    address = config.ray.address
    if address is not None and not _is_url(
        f"ray://{address}", ("ray",), needs_host=True, needs_port=True
    ):
        yield (
            f"ray.address: expected host:port, found {address!r}; leave it out to start a local Ray"
        )


def _is_url(
    text: str, schemes: tuple[str, ...], *, needs_host: bool, needs_port: bool = False
) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    has_host = bool(parts.hostname) and not any(letter.isspace() for letter in parts.netloc)
    return (
        parts.scheme in schemes
        and (has_host or not needs_host)
        and (port is not None or not needs_port)
        and not (needs_port and (parts.path or parts.query or "@" in parts.netloc))
    )


def _wrong_decimals(config: Config) -> Iterator[str]:
    tables = {"instruments": (config.instruments.lot, config.instruments.min_notional)}
    for symbol, limits in config.instruments.overrides.items():
        tables[f"instruments.overrides.{symbol}"] = (
            "1" if limits.lot is None else limits.lot,
            "0" if limits.min_notional is None else limits.min_notional,
        )
    for path, (lot, min_notional) in tables.items():
        try:
            quantity_e8(lot, f"{path}.lot")
            if money_micros(min_notional, f"{path}.min_notional") < 0:
                yield f"{path}.min_notional: expected zero or more, found {min_notional!r}"
        except UnitError as error:
            yield str(error)
