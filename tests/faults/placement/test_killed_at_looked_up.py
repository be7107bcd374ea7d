"""Gateway and broker killed with -9 at a broker that takes order ids again, with answers lost:
nothing is placed twice or lost (P9).
"""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.kill.checks import check
from tests.faults.kill.running import RunningCluster, temporary_cluster
from tests.faults.kill.strikes import is_replaced
from tests.faults.kill.waiting import SETTINGS, until, until_fills, victim_of
from tests.load import Load

pytestmark = [pytest.mark.real, pytest.mark.kill]

CONFIG = Path(__file__).with_name("looked_up.toml")


@pytest.fixture
def cluster() -> Iterator[RunningCluster]:
    """A cluster whose paper broker takes order ids again."""
    with temporary_cluster("lockstep-placement-", CONFIG) as running:
        yield running


async def test_no_order_is_placed_twice_or_lost_when_gateway_and_broker_are_killed(
    cluster: RunningCluster,
) -> None:
    async with Load(cluster.data, name="looked-up", seed=5, settings=SETTINGS) as load:
        await load.open_all()
        load.start()
        for part in ("gateway", "broker-paper", "gateway"):
            await until_fills(load, 20)
            victim = await victim_of(part, cluster, load)
            assert victim.send(signal.SIGKILL)
            await until(lambda: is_replaced(victim, cluster.run, load.heard), f"{victim} replaced")  # noqa: B023
        await until_fills(load, 20)
        await load.stop()
        await check(cluster, load)
