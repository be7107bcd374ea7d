"""Every option does something: it changes the settings of some part of the cluster, or the
supervisor reads it.
"""

import ast
from pathlib import Path

import msgspec
import pytest

from actors.settings import OrderIds
from cluster.config.credentials import Credentials
from cluster.config.options import BrokerFormat, Config, DurabilityProfile, InstrumentLimits
from cluster.config.printing import options
from cluster.config.roles import User
from cluster.placement.plan import planned
from cluster.placement.ray_start import join_request
from cluster.running.wiring import (
    broker_names,
    paper_broker_config,
    shard_settings,
    stream_settings,
)
from cluster.servers.nats_server import nats_configuration
from cluster.servers.postgres_server import postgres_settings
from cluster.servers.servers import Servers

ROOT = Path(__file__).parents[3]
USER = User(user="u", password="p", inbox_prefix="_INBOX_u")
CREDENTIALS = Credentials(users={"engine": USER, "broker_paper": USER}, postgres_password="x")
SERVERS = Servers("nats://n", USER, "postgresql://p", CREDENTIALS, "credentials.json", ())
DECIDED_BY_THE_SUPERVISOR = {
    # Where servers are, read where they are started: `test_the_supervisor_reads_every_other_option`
    # finds the place.
    "nats.url",
    "postgres.url",
    "ray.address",
    "brokers.<name>.embedded",
    "supervision.heartbeat_missing_ms_max",
    "supervision.server_silent_s_max",
    "supervision.start_s_max",
    "supervision.stop_s_max",
    "supervision.restart_ms_min",
    "supervision.restart_ms_max",
    "supervision.free_bytes_min",
}
OTHER = {
    "durability.profile": DurabilityProfile.DEV,
    "engine.clock": "event",
    "instruments.lot": "0.5",
    "instruments.min_notional": "7.00",
    "instruments.overrides.<name>.lot": "2",
    "instruments.overrides.<name>.min_notional": "3",
    "instruments.overrides.<name>.denied": True,
    "brokers.<name>.duplicate_executions": True,
    "brokers.<name>.format": BrokerFormat.JSON,
    "brokers.<name>.order_ids": OrderIds.LOOKED_UP,
}


def told(config: Config) -> list[object]:
    """Return all settings that the parts of a cluster get under a configuration."""
    return [
        stream_settings(config),
        shard_settings(config),
        nats_configuration(Path("nats"), 1, config),
        postgres_settings(config, 1),
        join_request(config, Path("ray")),
        *(
            paper_broker_config(Path("data"), config, SERVERS, name)
            for name in broker_names(config)
        ),
        planned(config),
    ]


def changed(config: Config, path: str, value: object) -> Config:
    """Set one option, in the broker `paper` or for the symbol `ACME` where the path says
    `<name>`.
    """

    def put(struct: object, names: list[str]) -> object:
        if not names:
            return value
        if isinstance(struct, dict):
            key = next(iter(struct))
            return {**struct, key: put(struct[key], names[1:])}
        assert isinstance(struct, msgspec.Struct)
        return msgspec.structs.replace(
            struct, **{names[0]: put(getattr(struct, names[0]), names[1:])}
        )

    found = put(config, path.split("."))
    assert isinstance(found, Config)
    return found


def other_value(path: str, default: object) -> object:
    if path in OTHER:
        return OTHER[path]
    return default + 1 if isinstance(default, int) else f"{default}x"


BASE = changed(
    Config(), "instruments.overrides", {"ACME": InstrumentLimits(lot="1", min_notional="1")}
)


@pytest.mark.parametrize(
    ("path", "default"),
    [
        (option.path, option.default)
        for option in options()
        if option.path not in DECIDED_BY_THE_SUPERVISOR
    ],
)
def test_every_option_changes_the_settings_of_some_part(path: str, default: object) -> None:
    base = BASE
    if path.startswith("cluster.") and path.endswith("_hosts"):
        base = changed(changed(base, "cluster.follower_shards", 8), "cluster.creator_shards", 8)
    assert told(changed(base, path, other_value(path, default))) != told(base), (
        f"{path} is an option nobody reads"
    )


def reads() -> set[str]:
    """Return every attribute that the cluster's own code reads, as `owner.attribute` by the last
    name of its owner.
    """
    found = set()
    for path in (ROOT / "cluster").rglob("*.py"):
        if path.is_relative_to(ROOT / "cluster" / "config"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                owner = node.value.value if isinstance(node.value, ast.Subscript) else node.value
                name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
                found.add(f"{name.lstrip('_')}.{node.attr}")
    return found


@pytest.mark.parametrize("path", sorted(DECIDED_BY_THE_SUPERVISOR))
def test_the_supervisor_reads_every_other_option(path: str) -> None:
    part, *_, field = path.split(".")
    owners = (part, "options") if part == "supervision" else (part,)
    assert any(f"{owner}.{field}" in reads() for owner in owners), (
        f"{path} is an option nobody reads"
    )


def test_the_options_that_the_supervisor_reads_are_options() -> None:
    assert {option.path for option in options()} >= DECIDED_BY_THE_SUPERVISOR | OTHER.keys()
