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
