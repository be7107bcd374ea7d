"""Each part killed with -9 under load of fills and commands: the cluster comes back by itself with
every promise intact (P1 to P10).
"""

import asyncio
import signal

import pytest

from cluster.processes.leftovers import processes_of
from cluster.processes.run_file import start_mark
from tests.faults.kill.checks import check
from tests.faults.kill.running import RunningCluster
from tests.faults.kill.strikes import HOSTS, is_replaced
from tests.faults.kill.waiting import (
    FILLS_AFTER,
    FILLS_BEFORE,
    SETTINGS,
    until,
    until_fills,
    victim_of,
)
from tests.load import Load

pytestmark = [pytest.mark.real, pytest.mark.kill]


@pytest.mark.parametrize("part", [*HOSTS, "broker-paper", "nats", "postgres", "raylet"])
async def test_a_killed_part_is_replaced_and_nothing_is_lost_or_doubled(
    cluster: RunningCluster, part: str
) -> None:
    async with Load(cluster.data, name=f"kill-{part}", seed=1, settings=SETTINGS) as load:
        await load.open_all()
        load.start()
        await until_fills(load, FILLS_BEFORE)
        victim = await victim_of(part, cluster, load)
        assert victim.send(signal.SIGKILL)
        await until(lambda: is_replaced(victim, cluster.run, load.heard), f"{victim} replaced")
        await until_fills(load, FILLS_AFTER)
        await load.stop()
        await check(cluster, load)


async def test_stopped_hosts_are_replaced_and_no_longer_count(cluster: RunningCluster) -> None:
    async with Load(cluster.data, name="stop", seed=2, settings=SETTINGS) as load:
        await load.open_all()
        load.start()
        await until_fills(load, FILLS_BEFORE)
        stopped = [await victim_of(part, cluster, load) for part in HOSTS]
        assert all(victim.send(signal.SIGSTOP) for victim in stopped)
        for victim in stopped:
            await until(lambda: is_replaced(victim, cluster.run, load.heard), f"{victim} replaced")  # noqa: B023
        for victim in stopped:
            victim.send(signal.SIGCONT)
        await until(
            lambda: not any(victim.is_alive() for victim in stopped),
            "what was stopped to end once it went on",
        )
        await until_fills(load, FILLS_AFTER)
        await load.stop()
        await check(cluster, load)


@pytest.mark.parametrize("what", ["supervisor", "everything"])
async def test_a_killed_cluster_continues_where_it_was(cluster: RunningCluster, what: str) -> None:
    async with Load(cluster.data, name=f"kill-{what}", seed=3, settings=SETTINGS) as load:
        await load.open_all()
        load.start()
        await until_fills(load, FILLS_BEFORE)
        before = processes_of(cluster.run)
        if what == "supervisor":
            await asyncio.to_thread(cluster.kill_supervisor)
        else:
            await asyncio.to_thread(cluster.kill)
        await asyncio.to_thread(cluster.up)
        assert [process for process in before if start_mark(process.pid) is not None] == []
        await load.connect()
        await until_fills(load, FILLS_AFTER)
        await load.stop()
        await check(cluster, load)
