"""Reading a configuration, or refusing it.

A file is TOML with one table per part. It is read once and checked as a whole. The refusal lists
every wrong field with what was expected and found, and an unknown field with the nearest known
name. Secrets are read from the environment only.
"""

import os
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_origin

import msgspec

from cluster.config.contradictions import contradictions
from cluster.config.options import Config
from cluster.config.printing import MASK, struct_in, unwrapped
from cluster.errors import ConfigError

SECRETS = (
    "LOCKSTEP_NATS_USER",
    "LOCKSTEP_NATS_PASSWORD",
    "LOCKSTEP_POSTGRES_PASSWORD",
    "LOCKSTEP_RAY_TOKEN",
)


class Secrets(NamedTuple):
    """Secrets from the environment, empty where unset. Printing one shows a mask."""

    nats_user: str
    nats_password: str
    postgres_password: str
    ray_token: str

    def __repr__(self) -> str:
        return f"Secrets({MASK})"


def load(path: Path | None) -> Config:
    """Read and check a configuration file; None gives the defaults. Raises: ConfigError."""
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
    """Check a configuration given as TOML text. Raises: ConfigError with one line for each wrong
    field.
    """
    try:
        raw = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # Python's own limits raise other errors than TOMLDecodeError: a number of 5,000 digits,
        # endlessly nested arrays.
        raise ConfigError(f"expected TOML, found {error}") from None
    problems = list(_wrong_fields(raw, Config, ""))
    if not problems:
        config = msgspec.convert(raw, Config)
        problems = list(contradictions(config))
        if not problems:
            return config
    raise ConfigError("\n".join(problems))


def read_secrets(environment: Mapping[str, str] = os.environ) -> Secrets:
    """Take the secrets from the environment."""
    return Secrets(*(environment.get(name, "") for name in SECRETS))


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
        base, _ = unwrapped(fields[name].type)
        nested = struct_in(base)
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
    base, _ = unwrapped(annotation)
    if isinstance(base, type) and issubclass(base, StrEnum):
        return [choice.value for choice in base]
    return [str(choice) for choice in get_args(base)]


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
