"""Reading, refusing and printing a configuration.

A file is TOML with one table per part. It is read once and judged as a whole: every wrong field is
named with what was expected and what was found, and an unknown one with its nearest known name.
Secrets are read from the environment only.
"""

import os
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_args, get_origin
from urllib.parse import urlsplit

import msgspec

from cluster.config.options import Config
from cluster.errors import ConfigError
from engine.values.ids import is_id
from engine.values.units import UnitError, money_micros, quantity_e8

SECRETS = (
    "LOCKSTEP_NATS_USER",
    "LOCKSTEP_NATS_PASSWORD",
    "LOCKSTEP_POSTGRES_PASSWORD",
    "LOCKSTEP_RAY_TOKEN",
)
MASK = "********"
PART_ROW_BYTES = 24
"""What a subscription takes in a part's frame, at most."""


class Secrets(NamedTuple):
    """What the environment adds to a configuration; empty text where it is unset. Shown masked."""

    nats_user: str
    nats_password: str
    postgres_password: str
    ray_token: str

    def __repr__(self) -> str:
        return f"Secrets({MASK})"


class Option(NamedTuple):
    """One field as the documentation shows it; `path` is dotted, `<name>` standing for a table's
    key.
    """

    path: str
    default: object
    description: str


def load(path: Path | None) -> Config:
    """Read and judge a configuration file; None gives the defaults. Raises: ConfigError."""
    if path is None:
        return parse("")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"config {path}: expected a readable TOML file, found {error}") from None
    try:
        return parse(text)
    except ConfigError as error:
        raise ConfigError(f"config {path} is refused\n{error}") from None


def parse(text: str) -> Config:
    """Judge a configuration given as TOML text. Raises: ConfigError naming every wrong field, one
    per line.
    """
    try:
        raw = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # Python's own limits are no TOMLDecodeError: a number of 5,000 digits, arrays in arrays
        # without end.
        raise ConfigError(f"expected TOML, found {error}") from None
    problems = list(_wrong_fields(raw, Config, ""))
    if not problems:
        config = msgspec.convert(raw, Config)
        problems = list(_contradictions(config))
        if not problems:
            return config
    raise ConfigError("\n".join(problems))


def read_secrets(environment: Mapping[str, str] = os.environ) -> Secrets:
    """Take the secrets from the environment."""
    return Secrets(*(environment.get(name, "") for name in SECRETS))


def render(config: Config) -> str:
    """Show a configuration as TOML that reads back to the same one, except that passwords in URLs
    are masked.
    """
    lines: list[str] = []
    for part in msgspec.structs.fields(Config):
        lines += _table(part.name, getattr(config, part.name))
    return "\n".join(lines).strip() + "\n"


def render_options() -> str:
    """Show every option: its path, its default and what it is."""
    rows = [
        (
            option.path,
            _toml(option.default) if option.default is not None else "unset",
            option.description,
        )
        for option in options()
    ]
    return "".join(
        f"{path} = {default}\n    {description}\n" for path, default, description in rows
    )


def options(struct: type[msgspec.Struct] = Config, prefix: str = "") -> Iterator[Option]:
    """List every field with its default and documentation, in file order."""
    for field in msgspec.structs.fields(struct):
        base, description = _unwrapped(field.type)
        nested = _struct_in(base)
        if nested is None:
            yield Option(prefix + field.name, field.default, description)
        else:
            inner = f"{prefix}{field.name}." + ("<name>." if get_origin(base) is dict else "")
            yield from options(nested, inner)


def _unwrapped(annotation: Any) -> tuple[Any, str]:
    """Split an annotation into its base type and its documentation."""
    description = ""
    while get_origin(annotation) is Annotated:
        annotation, *metas = get_args(annotation)
        found = [
            meta.description
            for meta in metas
            if isinstance(meta, msgspec.Meta) and meta.description
        ]
        description = description or (found[-1] if found else "")
    return annotation, description


def _struct_in(base: Any) -> type[msgspec.Struct] | None:
    candidate = get_args(base)[1] if get_origin(base) is dict else base
    return (
        candidate if isinstance(candidate, type) and issubclass(candidate, msgspec.Struct) else None
    )


def _wrong_fields(raw: object, struct: type[msgspec.Struct], path: str) -> Iterator[str]:
    if not isinstance(raw, dict):
        yield f"{path}: expected a table, found {_shown(raw)}"
        return
    fields = {field.name: field for field in msgspec.structs.fields(struct)}
    for name, value in raw.items():
        here = f"{path}.{name}" if path else name
        if name not in fields:
            yield _unknown(here, name, list(fields))
            continue
        base, _ = _unwrapped(fields[name].type)
        nested = _struct_in(base)
        if nested is None:
            yield from _wrong_value(here, value, fields[name].type)
        elif get_origin(base) is dict and isinstance(value, dict):
            for key, entry in value.items():
                yield from _wrong_fields(entry, nested, f"{here}.{key}")
        else:
            yield from _wrong_fields(value, nested, here)


def _unknown(path: str, name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, n=1)
    advice = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
    return f"{path}: expected a known field, found {name!r}; {advice}"


def _wrong_value(path: str, value: object, annotation: Any) -> Iterator[str]:
    try:
        msgspec.convert(value, annotation)
    except msgspec.ValidationError as error:
        expected = str(error).split(", got")[0]
        if expected.startswith("Expected"):
            expected = expected.removeprefix("Expected ").replace("`", "")
        else:
            expected = "one of " + ", ".join(_choices(annotation))
        yield f"{path}: expected {expected}, found {_shown(value)}"


def _choices(annotation: Any) -> list[str]:
    base, _ = _unwrapped(annotation)
    if isinstance(base, type) and issubclass(base, StrEnum):
        return [choice.value for choice in base]
    return [str(choice) for choice in get_args(base)]


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _contradictions(config: Config) -> Iterator[str]:
    """Judge what fields say of each other, and texts that stand for numbers."""
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
    for broker in config.brokers:
        if not is_id(broker):
            yield (
                f"brokers.{broker}: expected a name of 1 to 64 of A-Z a-z 0-9 _ -, found {broker!r}"
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


def _wrong_addresses(config: Config) -> Iterator[str]:
    for url in config.nats.url.split(",") if config.nats.url is not None else ():
        if not _is_url(url, ("nats", "tls"), needs_host=True):
            yield (
                "nats.url: expected nats:// or tls://host:4222, or several "
                f"separated by commas, found {_masked(url)!r}; "
                "leave it out to start an embedded server"
            )
    database = config.postgres.url
    if database is not None and not _is_url(database, ("postgresql", "postgres"), needs_host=False):
        yield (
            "postgres.url: expected "
            f"postgresql://user@host:5432/database, found {_masked(database)!r}; "
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


def _table(name: str, value: object) -> list[str]:
    """Render one part; empty parts are left out."""
    if isinstance(value, dict):
        return [
            line for key, entry in value.items() for line in _table(f"{name}.{_key(key)}", entry)
        ]
    assert isinstance(value, msgspec.Struct)
    plain: list[str] = []
    nested: list[str] = []
    for field in msgspec.structs.fields(type(value)):
        item = getattr(value, field.name)
        if isinstance(item, (dict, msgspec.Struct)):
            nested += _table(f"{name}.{field.name}", item)
        elif item is not None:
            plain.append(f"{field.name} = {_toml(item)}")
    return [f"[{name}]", *plain, "", *nested]


def _key(key: str) -> str:
    return key if is_id(key) else _toml(key)


def _toml(value: object) -> str:
    # A JSON string is a TOML basic string, and so are JSON's true, false and integers.
    return msgspec.json.encode(_masked(value) if isinstance(value, str) else value).decode()


def _masked(text: str) -> str:
    parts = urlsplit(text) if "://" in text and "@" in text else None
    return text.replace(f":{parts.password}@", f":{MASK}@") if parts and parts.password else text
