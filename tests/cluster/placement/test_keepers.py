"""The keepers of hosts and Ray, with stand-ins for both. They report a failed shard, and go on
after an error.
"""

import asyncio
from typing import cast

from structlog.testing import capture_logs

from actors.host.host import HostSpec
from actors.settings import ShardSettings
from actors.shard.progress import HostAlarm, HostHeartbeat
from cluster.config.options import SupervisionOptions
from cluster.placement.hosts import HostKeeper
from cluster.placement.plan import PlacementPlan, with_hosts
from cluster.placement.ray_cluster import RayCluster
from cluster.placement.ray_keeper import RayKeeper

OPTIONS = SupervisionOptions(restart_ms_min=1, restart_ms_max=1, heartbeat_missing_ms_max=600_000)


class Running:
    """A host that was started and never ends."""

    async def started(self) -> None:
        """Be placed at once."""

    async def ended(self) -> str:
        await asyncio.Event().wait()
        raise AssertionError("it never ends")

    def ask_to_stop(self) -> None:
        """Take no notice."""

    def kill(self) -> None:
        """Take no notice."""


def keeper() -> HostKeeper:
    return HostKeeper(
        lambda spec: Running(),
        lambda kind, shards, incarnation: HostSpec(kind, shards, incarnation, ShardSettings(1, 1)),
        OPTIONS,
        is_connected=lambda: True,
    )


async def test_a_failed_shard_is_reported_once_with_what_to_do() -> None:
    hosts = keeper()
    hosts.place(with_hosts(PlacementPlan(), "follower", [(0, 1)]))
    await asyncio.sleep(0)
    name = hosts.hosts[0].incarnation
    try:
        with capture_logs() as told:
            hosts.hear_host(HostHeartbeat(name, "follower", 7, {"0": "replaying", "1": "live"}))
            for _ in range(2):
                hosts.hear_host(
                    HostHeartbeat(
                        name, "follower", 7, {"0": "failed", "1": "live"}, "history was lost"
                    )
                )
        assert [(entry["event"], entry["alarm"]) for entry in told] == [("shard_failed", True)]
        assert told[0]["error"].startswith(
            "history was lost; it stays stopped while the others go on"
        )
        assert "end process 7" in told[0]["error"]
    finally:
        await hosts.suspend()


async def test_a_hosts_alarm_is_told_at_first_and_whenever_its_count_has_doubled() -> None:
    hosts = keeper()
    hosts.place(with_hosts(PlacementPlan(), "gateway", [(0,)]))
    await asyncio.sleep(0)
    name = hosts.hosts[0].incarnation
    try:
        with capture_logs() as told:
            for count in (1, 1, 2, 3, 4, 7, 9):
                alarms = (
                    HostAlarm("order_unanswered", count, "t"),
                    HostAlarm("shard_failed", 1, "t"),
                )
                hosts.hear_host(HostHeartbeat(name, "gateway", 7, {"0": "starting"}, alarms=alarms))
        assert [(each["event"], each["name"], each["count"]) for each in told] == [
            ("host_alarm", "order_unanswered", count) for count in (1, 2, 4, 9)
        ]
        assert all(each["alarm"] and each["incarnation"] == name for each in told)
    finally:
        await hosts.suspend()


class FullDisk:
    """A Ray whose processes cannot be written down at first, and that then breaks."""

    address = "127.0.0.1:1"

    def __init__(self) -> None:
        self.records_count = 0

    def lacking(self) -> str:
        return "raylet" if self.records_count > 1 else ""

    async def record_processes(self) -> None:
        self.records_count += 1
        if self.records_count == 1:
            raise OSError(28, "No space left on device")

    async def stop(self, *, stop_s_max: float) -> None:
        """Be gone at once."""


async def test_ray_is_kept_after_its_processes_could_not_be_recorded() -> None:
    first, starts, is_renewed = FullDisk(), 0, asyncio.Event()

    async def start() -> RayCluster:
        nonlocal starts
        starts += 1
        if starts == 1:
            return cast(RayCluster, first)
        is_renewed.set()
        return cast(RayCluster, FullDisk())

    hosts, ray = keeper(), RayKeeper(start, OPTIONS)
    hosts.place(with_hosts(PlacementPlan(), "creator", [(0,)]))
    await asyncio.sleep(0)
    hosts.hear_host(HostHeartbeat(hosts.hosts[0].incarnation, "creator", 7, {"0": "live"}))
    await ray.start()
    ray.watch(hosts)
    try:
        async with asyncio.timeout(20):
            await is_renewed.wait()
        assert first.records_count == 2
    finally:
        await ray.stop_watching()
        await hosts.suspend()
