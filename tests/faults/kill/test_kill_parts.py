"""Each part killed with -9 under load of fills and commands: the cluster comes back by itself with
every promise intact (P1 to P10).
"""

import asyncio
import signal
import time
from collections.abc import Callable

import pytest

from cluster.processes.leftovers import processes_of
from cluster.processes.run_file import start_mark
from tests.faults.kill.checks import check
from tests.faults.kill.running import RunningCluster
from tests.faults.kill.strikes import HOSTS, Victim, is_replaced, victims
from tests.load import Load, LoadSettings

pytestmark = [pytest.mark.real, pytest.mark.kill]

REPLACED_S_MAX = 60.0
FILLS_BEFORE = 30
FILLS_AFTER = 20
SETTINGS = LoadSettings(pace_s=0.04)


async def until(is_true: Callable[[], bool], what: str) -> None:
    give_up_s = time.monotonic() + REPLACED_S_MAX
    while not is_true():
        assert time.monotonic() < give_up_s, f"expected {what} within {REPLACED_S_MAX:.0f} s"
        await asyncio.sleep(0.02)


async def until_fills(load: Load, count: int) -> None:
    wanted = len(load.fills) + count
    await until(lambda: len(load.fills) >= wanted, f"{count} more fills acknowledged")


async def victim_of(part: str, cluster: RunningCluster, load: Load) -> Victim:
    await until(lambda: bool(victims(part, cluster.run, load.heard)), f"a live {part}")
    return victims(part, cluster.run, load.heard)[0]


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
async def test_a_killed_cluster_goes_on_where_it_was(cluster: RunningCluster, what: str) -> None:
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
