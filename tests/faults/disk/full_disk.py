"""The scenario of `test_full_disk.py`: a cluster on a small disk under load, the disk full, then
room again. It must run where DIR is a small disk of its own.

    python -m tests.faults.disk.full_disk DIR
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cluster.config.roles import OPERATOR, broker_role
from gateways.nats.connection import NatsConnection
from tests.cluster.running.asking import connected
from tests.faults.kill.checks import check
from tests.faults.kill.running import RunningCluster
from tests.faults.kill.waiting import FILLS_AFTER, FILLS_BEFORE, SETTINGS, until_fills
from tests.load import Load

TOLD_S_MAX = 30.0
SHORT_BYTES = 64 << 20
"""Less than the least free space of the default settings, and enough to go on writing."""

Status = dict[str, Any]


async def main(root: Path) -> None:
    """Run the scenario. Raises: AssertionError, TimeoutError."""
    cluster = RunningCluster(root / "data")
    try:
        await asyncio.to_thread(cluster.up)
        async with Load(cluster.data, name="disk", seed=5, settings=SETTINGS) as load:
            await load.open_all()
            load.start()
            await until_fills(load, FILLS_BEFORE)
            await _short_and_free(cluster, root / "ballast")
            await until_fills(load, FILLS_AFTER)
            for _ in range(2):
                await _full_and_free(cluster, root / "ballast")
                await until_fills(load, FILLS_AFTER)
            await load.stop()
            print(await check(cluster, load))
    finally:
        print(cluster.log_tail(40))
        await asyncio.to_thread(cluster.down)


async def _short_and_free(cluster: RunningCluster, ballast: Path) -> None:
    """Leave less than the least free space, and see that fills are refused while nothing fails."""
    _fill(ballast)
    os.truncate(ballast, ballast.stat().st_size - SHORT_BYTES)
    connection = await connected(cluster.data, broker_role("paper"))
    try:
        await _until_refused(connection)
    finally:
        await connection.close()
    ballast.unlink()
    await _status(cluster, lambda now: not now["trouble"])


async def _until_refused(connection: NatsConnection) -> None:
    """Publish until NATS refuses what is published."""
    give_up_s = time.monotonic() + TOLD_S_MAX
    while True:
        answer = (await connection.request("marks.paper", b"[]")).data
        if b"message size exceeds maximum allowed" in answer:
            return
        assert time.monotonic() < give_up_s, f"expected a refusal, found {answer!r}"


async def _full_and_free(cluster: RunningCluster, ballast: Path) -> None:
    """Fill the disk, see that the status tells of it, then make room and see it heal."""
    _fill(ballast)
    status = await _status(cluster, lambda status: bool(status["trouble"]))
    assert status["trouble"].startswith("disk_full: "), status["trouble"]
    states = {shard["state"] for actor in status["actors"] for shard in actor["shards"]}
    assert "live" not in states and "blocked" in states, states
    assert await _answer_to_a_command(cluster) == "busy"
    table = await asyncio.to_thread(cluster.command, "status")
    assert "disk_full" in table.stdout and "blocked" in table.stdout, table.stdout
    ballast.unlink()
    await _status(cluster, lambda now: not now["trouble"] and _restarts(now) > _restarts(status))


async def _answer_to_a_command(cluster: RunningCluster) -> str:
    """Return the reason for which a command is refused now."""
    connection = await connected(cluster.data, OPERATOR)
    try:
        answer = await connection.request("commands.bulk", b"[]", deadline_s=TOLD_S_MAX)
    finally:
        await connection.close()
    return str(json.loads(answer.data)["reason"])


def _restarts(status: Status) -> int:
    return sum(server["restarts"] for server in status["servers"] if server["name"] == "nats")


def _fill(ballast: Path) -> None:
    descriptor = os.open(ballast, os.O_CREAT | os.O_WRONLY)
    try:
        while True:
            os.write(descriptor, bytes(1 << 16))
    except OSError:
        return
    finally:
        os.close(descriptor)


async def _status(cluster: RunningCluster, is_wanted: Callable[[Status], bool]) -> Status:
    give_up_s = time.monotonic() + TOLD_S_MAX
    while True:
        told = await asyncio.to_thread(cluster.command, "status", "--json")
        status: Status = json.loads(told.stdout)
        if is_wanted(status):
            return status
        assert time.monotonic() < give_up_s, f"expected the status to tell it, found {told.stdout}"


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
