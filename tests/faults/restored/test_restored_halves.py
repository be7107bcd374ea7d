"""A cluster whose parts come from different moments, as a restored backup leaves them: the gateway
or the creators say so and do nothing; with parts of one moment everything goes on.
"""

import asyncio
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateways.brokers.ledger.ledger_reader import LedgerReader
from tests.faults.kill.running import RunningCluster
from tests.faults.kill.waiting import SETTINGS, until_fills
from tests.load import Load

pytestmark = [pytest.mark.real, pytest.mark.kill]

WAIT_S_MAX = 60.0
JOURNALS = ("nats", "postgres")
LEDGER = ("broker",)
INGRESS = "nats/store/jetstream/ENGINE/streams/INGRESS"


class Copies:
    """A cluster that is down, and copies of its folders."""

    def __init__(self, cluster: RunningCluster, root: Path) -> None:
        self._data = cluster.data
        self._root = root

    def keep(self, moment: str) -> None:
        """Copy all folders as they are now."""
        (self._root / moment).mkdir()
        for name in (*JOURNALS, *LEDGER):
            copy(self._data / name, self._root / moment / name)

    def restore(self, moment: str, names: tuple[str, ...]) -> None:
        """Put some folders back to what they were."""
        for name in names:
            subprocess.run(["rm", "-rf", str(self._data / name)], check=True)
            copy(self._root / moment / name, self._data / name)


def copy(source: Path, target: Path) -> None:
    """Copy a folder with owners and modes."""
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RunningCluster]:
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    running = RunningCluster(tmp_path / "data")
    try:
        yield running
    finally:
        running.down()


def test_halves_of_different_moments_stop_the_gateway_until_they_are_restored(
    cluster: RunningCluster, tmp_path: Path
) -> None:
    copies = Copies(cluster, tmp_path)
    for moment in ("earlier", "later"):
        cluster.up()
        asyncio.run(trade(cluster, moment))
        cluster.down()
        copies.keep(moment)

    copies.restore("earlier", JOURNALS)
    assert "older than the ledger" in refused(cluster)

    copies.restore("later", JOURNALS)
    copies.restore("earlier", LEDGER)
    assert "the ledger is older than this cluster" in refused(cluster)

    copies.restore("later", (*LEDGER, *JOURNALS))
    copies.restore("earlier", (INGRESS,))
    assert "the stream lost its end or is an older copy" in failed(cluster)

    copies.restore("later", (INGRESS,))
    cluster.up()
    asyncio.run(trade(cluster, "again"))
    assert gateway(cluster)["state"] == "live"
    cluster.down()
    audited = cluster.command("audit")
    assert audited.returncode == 0, audited.stdout + audited.stderr

    subprocess.run(["rm", "-rf", str(cluster.data / "nats")], check=True)
    with pytest.raises(RuntimeError, match="expected the one that this cluster made, found none"):
        cluster.up()


async def trade(cluster: RunningCluster, name: str) -> None:
    async with Load(cluster.data, name=name, seed=7, settings=SETTINGS) as load:
        await load.open_all()
        load.start()
        await until_fills(load, 10)
        await load.stop()
        await load.drain()


def refused(cluster: RunningCluster) -> str:
    """Start the cluster, and check that its gateway is blocked and places nothing. Returns: why."""
    before = orders_count(cluster)
    cluster.up()
    give_up_s = time.monotonic() + WAIT_S_MAX
    while (found := gateway(cluster))["state"] != "blocked":
        assert time.monotonic() < give_up_s, found
    table = cluster.command("status")
    assert str(found["trouble"]) in table.stdout
    assert table.returncode == 1
    cluster.down()
    assert orders_count(cluster) == before
    return str(found["trouble"])


def failed(cluster: RunningCluster) -> str:
    """Start the cluster, and check that its creators stay stopped. Returns: why."""
    cluster.start()
    give_up_s = time.monotonic() + WAIT_S_MAX
    while True:
        told = cluster.command("status", "--json")
        status = json.loads(told.stdout) if told.stdout else {"actors": []}
        creators = [each for each in status["actors"] if each["kind"] == "creator"]
        states = [shard["state"] for each in creators for shard in each["shards"]]
        if states and set(states) == {"failed"}:
            break
        assert time.monotonic() < give_up_s, told
    assert "shard_failed" in cluster.log_tail(), "the operator is told where he started it"
    text = cluster.command("status").stdout
    cluster.down()
    return text


def gateway(cluster: RunningCluster) -> dict[str, Any]:
    """Return the gateway's shard as the status shows it."""
    status = json.loads(cluster.command("status", "--json").stdout)
    [actor] = [each for each in status["actors"] if each["kind"] == "gateway"]
    found: dict[str, Any] = actor["shards"][0]
    return found


def orders_count(cluster: RunningCluster) -> int:
    reader = LedgerReader(cluster.data / "broker" / "paper")
    return sum(len(batch.subscriptions) for batch in reader.orders())
