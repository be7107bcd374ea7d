"""`lockstep status` on a running cluster: every server and every shard with its process."""

import json

import pytest

from cluster.processes.run_file import start_mark
from tests.faults.kill.running import RunningCluster

pytestmark = pytest.mark.real


def test_status_shows_every_server_and_every_shard_with_its_process(
    cluster: RunningCluster,
) -> None:
    table = cluster.command("status")
    assert table.returncode == 0, table.stderr
    for word in (
        "nats",
        "postgres",
        "broker-paper",
        "creator",
        "follower",
        "gateway",
        "live",
        "epoch",
        "lag",
    ):
        assert word in table.stdout
    status = json.loads(cluster.command("status", "--json").stdout)
    assert {server["name"] for server in status["servers"]} == {
        "nats",
        "postgres",
        "broker-paper",
        "ray-driver",
        "ray-gcs",
        "ray-raylet",
    }
    assert all(start_mark(server["pid"]) for server in status["servers"])
    shards = [
        (actor["kind"], shard["shard"]) for actor in status["actors"] for shard in actor["shards"]
    ]
    assert shards == [
        ("creator", 0),
        ("creator", 1),
        ("follower", 0),
        ("follower", 1),
        ("gateway", 0),
    ]
    assert all(actor["state"] == "live" and start_mark(actor["pid"]) for actor in status["actors"])


def test_status_tells_how_much_of_its_limit_each_stream_uses(cluster: RunningCluster) -> None:
    table = cluster.command("status").stdout
    streams = {
        stream["name"]: stream
        for stream in json.loads(cluster.command("status", "--json").stdout)["streams"]
    }
    assert {"INGRESS", "EXECUTIONS", "DEADLETTER"} <= streams.keys()
    assert {"JOURNAL_CREATOR", "JOURNAL_FOLLOWER", "JOURNAL_GATEWAY"} <= streams.keys()
    journal = streams["JOURNAL_FOLLOWER"]
    assert journal["messages"] > 0
    assert 0 < journal["bytes"] < journal["bytes_max"]
    for name in streams:
        assert name in table
    assert "used" in table
