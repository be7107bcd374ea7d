"""The configuration: wrong values are refused with their field, secrets are masked, and every
option is documented.
"""

from pathlib import Path

import pytest

from cluster.config.contradictions import ROLES
from cluster.config.file import load, parse, read_secrets
from cluster.config.options import Config, DurabilityProfile
from cluster.config.printing import options, render
from cluster.config.roles import roles_of
from cluster.errors import ConfigError
from cluster.running.wiring import json_brokers, shard_settings


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return str(caught.value)


def test_no_file_gives_the_embedded_defaults() -> None:
    config = load(None)
    assert config == Config()
    assert (config.cluster.follower_shards, config.cluster.creator_shards) == (2, 1)
    assert config.durability.profile is DurabilityProfile.SINGLE
    assert list(config.brokers) == ["paper"]


def test_every_role_that_is_no_brokers_is_refused_as_a_brokers_name() -> None:
    assert set(ROLES) == set(roles_of(()))


def test_every_option_has_one_line_of_documentation() -> None:
    undocumented = [
        option.path
        for option in options()
        if not option.description.endswith(".") or "\n" in option.description
    ]
    assert undocumented == []
    assert len(list(options())) > 30


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[cluster]\nfollower_shards = 3",
            "cluster.follower_shards: expected a power of two, found 3",
        ),
        (
            "[cluster]\nfollower_shards = 8192",
            "cluster.follower_shards: expected int <= 4096, found 8192",
        ),
        (
            "[cluster]\nfollower_shards = 'two'",
            "cluster.follower_shards: expected int, found 'two'",
        ),
        (
            "[cluster]\nfolower_shards = 2",
            "cluster.folower_shards: expected a known field, found 'folower_shards'; "
            "did you mean 'follower_shards'?",
        ),
        ("[clutser]", "clutser: expected a known field, found 'clutser'; did you mean 'cluster'?"),
        ("cluster = 1", "cluster: expected a table, found 1"),
        ("[engine]\nclock = 'sun'", "engine.clock: expected one of wall, event, found 'sun'"),
        (
            "[durability]\nprofile = 'x'",
            "durability.profile: expected one of single, dev, standard, strict, found 'x'",
        ),
        (
            "[durability]\nprofile = 'strict'",
            "set nats.url to a NATS cluster of at least three servers",
        ),
        (
            "[brokers.paper]\nfee_rate = 1",
            "brokers.paper.fee_rate: expected a known field, found 'fee_rate'; "
            "did you mean 'fee_rate_micros'?",
        ),
        ("[brokers.'a b']", "brokers.a b: expected a name"),
        (
            "[brokers.market_data]",
            "brokers.market_data: expected a name that is no role "
            "(engine, operator, auditor, market_data), found 'market_data'; the role",
        ),
        ("[brokers.paper]\n[brokers.engine]", "brokers.engine: expected a name that is no role"),
        (
            "[brokers.paper]\nformat = 'json'",
            "brokers.paper.format: expected 'binary' for the embedded paper broker, found 'json'; "
            "set brokers.paper.embedded = false for a program of your own",
        ),
        (
            "[brokers.acme]\nformat = 'xml'",
            "brokers.acme.format: expected one of binary, json, found 'xml'",
        ),
        (
            "[brokers.paper]\n[marks]\nsource = 'papre'",
            "marks.source: expected one of market_data, paper, found 'papre'; "
            "leave it out to take each broker's own marks",
        ),
        (
            "[instruments]\nlot = '0.000000001'",
            "instruments.lot: expected at most 8 decimal places",
        ),
        ("[instruments]\nlot = 0.1", "instruments.lot: expected str, found 0.1"),
        (
            "[instruments.overrides.XYZ]\nmin_notional = '-1'",
            "instruments.overrides.XYZ.min_notional: expected zero",
        ),
        (
            "[instruments.overrides.XYZ]\nlot = ''",
            "instruments.overrides.XYZ.lot: expected a decimal number, found ''",
        ),
        (
            "[instruments.overrides.XYZ]\nmin_notional = ''",
            "instruments.overrides.XYZ.min_notional: expected a decimal number, found ''",
        ),
        (
            "[snapshot]\nframes_every = 100000000000000000000",
            "snapshot.frames_every: expected int <= 1000000000, found 1000",
        ),
        (
            "[nats]\nstream_bytes_max = 9223372036854775807",
            "nats.stream_bytes_max: expected int <= 1125899906842624, found 9223",
        ),
        (
            "[brokers.paper]\norders_per_s_max = 18446744073709551616",
            "brokers.paper.orders_per_s_max: expected int <= 1000000000",
        ),
        ("cluster = " + "1" * 5000, "expected TOML, found Exceeds the limit"),
        ("cluster = " + "[" * 5000, "expected TOML, found maximum recursion depth exceeded"),
        (
            "[supervision]\nheartbeat_missing_ms_max = 500",
            "supervision.heartbeat_missing_ms_max: expected int >= 600",
        ),
        (
            "[nats]\nurl = 'http://n:4222'",
            "nats.url: expected nats:// or tls://host:4222, or several separated by commas, "
            "found 'http://n:4222'; leave it out to start an embedded server",
        ),
        (
            "[nats]\nurl = 'nats://a:4222,b:4222'",
            "nats.url: expected nats:// or tls://host:4222, or several separated by commas, "
            "found 'b:4222'",
        ),
        ("[nats]\nurl = 'nats://a:port'", "nats.url: expected nats:// or tls://host:4222"),
        ("[nats]\nurl = ''", "nats.url: expected nats:// or tls://host:4222"),
        (
            "[nats]\npayload_bytes_max = 1048576",
            "nats.payload_bytes_max: expected int >= 4194304, found 1048576",
        ),
        (
            "[nats]\npayload_bytes_max = 4194304\n[engine]\npart_rows "
            "= 131072\nframe_bytes_max = 2097152",
            "engine.part_rows: expected at most 87381, what nats.payload_bytes_max has room for",
        ),
        (
            "[postgres]\nurl = 'mysql://me:hunter2@db/x'",
            "postgres.url: expected postgresql://user@host:5432/database, "
            "found 'mysql://me:********@db/x'; leave it out",
        ),
        (
            "[ray]\naddress = 'head'",
            "ray.address: expected host:port, found 'head'; leave it out to start a local Ray",
        ),
        (
            "[ray]\naddress = 'ray://head:10001'",
            "ray.address: expected host:port, found 'ray://head:10001'",
        ),
        ("[ray]\naddress = 'auto'", "ray.address: expected host:port"),
        ("[cluster", "expected TOML"),
    ],
)
def test_wrong_field_is_refused_with_expected_and_found(text: str, expected: str) -> None:
    assert expected in refusal(text)


def test_all_wrong_fields_are_named_at_once() -> None:
    assert len(refusal("[engine]\npart_rows = 0\nclok = 1\n[nats]\nurl = 5").splitlines()) == 3


def test_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml: expected a readable TOML file"):
        load(tmp_path / "absent.toml")


def test_wrong_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "lockstep.toml"
    path.write_text("[engine]\npart_rows = 0")
    with pytest.raises(
        ConfigError,
        match=r"lockstep\.toml is refused\nengine\.part_rows: expected int >= 1, found 0",
    ):
        load(path)


def test_rendered_configuration_reads_back_the_same() -> None:
    config = parse(
        "[brokers.paper]\nfee_rate_micros = 100\n[brokers.other]\nembedded = false\n"
        "[instruments.overrides.'BRK.B']\nlot = '1'\n[engine]\nclock = 'event'"
    )
    assert parse(render(config)) == config


def test_a_denied_symbol_reaches_the_copy_policy() -> None:
    config = parse(
        "[instruments.overrides.XYZ]\ndenied = true\n[instruments.overrides.ABC]\nlot = '1'"
    )
    assert shard_settings(config).policy.denied == {"XYZ"}


def test_a_json_brokers_gateway_is_told_the_format_and_the_size_of_messages() -> None:
    config = parse("[brokers.acme]\nembedded = false\nformat = 'json'\n[brokers.paper]")
    assert json_brokers(config) == {"acme"}
    assert shard_settings(config).message_orders_max == {"acme": 100}


def test_addresses_of_servers_elsewhere_are_taken() -> None:
    config = parse(
        "[nats]\nurl = 'nats://a:4222,tls://b'\n[postgres]\nurl = "
        "'postgres://me@db/x'\n[ray]\naddress = '10.0.0.1:6379'"
    )
    assert (config.nats.url, config.postgres.url, config.ray.address) == (
        "nats://a:4222,tls://b",
        "postgres://me@db/x",
        "10.0.0.1:6379",
    )


def test_password_in_a_url_is_masked() -> None:
    shown = render(parse("[postgres]\nurl = 'postgresql://me:hunter2@db/x'"))
    assert "hunter2" not in shown
    assert "postgresql://me:********@db/x" in shown


def test_secrets_come_from_the_environment_and_are_not_shown() -> None:
    secrets = read_secrets({"LOCKSTEP_NATS_PASSWORD": "hunter2"})
    assert secrets.nats_password == "hunter2"
    assert secrets.nats_user == ""
    assert "hunter2" not in repr(secrets)
