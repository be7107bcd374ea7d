"""The local Ray as it really is: on loopback only, closed to others, and gone without a trace after
a stop at any moment.
"""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.host.host import HostSpec
from actors.settings import ShardSettings
from cluster.config.credentials import ensure_credentials
from cluster.config.file import parse, read_secrets
from cluster.config.options import Config
from cluster.placement.ray_start import start_ray
from cluster.processes.leftovers import clear_leftovers, processes_of
from cluster.processes.run_file import RunFile, read_run, start_mark
from tests.cluster.placement.ray_supervisor import NOWHERE
from tests.cluster.servers.listening import listening_addresses

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[3]


@pytest.fixture
def data() -> Iterator[Path]:
    # Longer than Ray's socket paths allow, as a directory of the operator's choosing may be.
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / ("long" * 20)
        (path / "logs").mkdir(parents=True)
        yield path


def start_driver(data: Path) -> tuple[subprocess.Popen[str], int]:
    driver = subprocess.Popen(
        [sys.executable, "-m", "tests.cluster.placement.ray_supervisor", str(data)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert driver.stdout is not None
    actor_pid = int(driver.stdout.readline())
    assert driver.stdout.readline() == "recorded\n"
    return driver, actor_pid


def end(driver: subprocess.Popen[str]) -> None:
    driver.kill()
    driver.communicate()


def test_ray_listens_on_loopback_only_and_stops_whole(data: Path) -> None:
    driver, actor_pid = start_driver(data)
    try:
        run = read_run(data)
        assert run is not None
        processes = processes_of(run)
        assert actor_pid in {process.pid for process in processes}
        assert listening_addresses(processes) == {"127.0.0.1"}
        assert (data / "ray").stat().st_mode & 0o077 == 0
        output, _ = driver.communicate("stop\n", timeout=60)
        assert output == "stopped\n"
        assert processes_of(run) == []
        assert [path for path in run.scratch if Path(path).exists()] == []
    finally:
        end(driver)
        clear_leftovers(data, stop_s_max=1)


def test_ray_of_a_killed_supervisor_is_cleared_even_its_stopped_worker(data: Path) -> None:
    driver, actor_pid = start_driver(data)
    try:
        os.kill(actor_pid, signal.SIGSTOP)
        run = read_run(data)
        assert run is not None
        before = processes_of(run)
        end(driver)
        assert clear_leftovers(data, stop_s_max=1) >= 1
        assert [process for process in before if start_mark(process.pid) is not None] == []
        assert [path for path in run.scratch if Path(path).exists()] == []
        assert read_run(data) is None
    finally:
        end(driver)
        clear_leftovers(data, stop_s_max=1)


async def test_a_ray_that_hangs_is_ended_under_the_calls_that_wait_for_it(data: Path) -> None:
    run_file = RunFile(data)
    ray = await start_ray(
        data, Config(), ensure_credentials(data, ["paper"]), read_secrets({}), run_file
    )
    try:
        before = processes_of(run_file.run)
        stopped = [process for process in before if process.name() in ("gcs_server", "raylet")]
        assert len(stopped) == 2
        for process in stopped:
            process.suspend()
        host = ray.start_host(
            HostSpec("creator", (0,), "creator-0-test-1", ShardSettings(1, 1)), NOWHERE
        )
        host.ask_to_stop()
        host.kill()
        # Its call can no longer be answered. A waiting caller hears it once Ray is ended, and
        # ending it waits for no call.
        ended = asyncio.create_task(host.ended())
        async with asyncio.timeout(60):
            await ray.stop(stop_s_max=0)
            assert await ended == "Ray's driver is gone"
            await host.started()
        assert [process for process in before if start_mark(process.pid) is not None] == []
        late = ray.start_host(
            HostSpec("creator", (0,), "creator-0-test-2", ShardSettings(1, 1)), NOWHERE
        )
        assert await late.ended() == "Ray's driver is gone"
    finally:
        await ray.stop(stop_s_max=0)


async def test_a_ray_elsewhere_is_joined_by_its_address_and_left_running(
    data: Path, tmp_path: Path
) -> None:
    (tmp_path / "logs").mkdir()
    credentials = ensure_credentials(data, ["paper"])
    there = await start_ray(data, Config(), credentials, read_secrets({}), RunFile(data))
    try:
        secrets = read_secrets({"LOCKSTEP_RAY_TOKEN": credentials.ray_token})
        config = parse(f"[ray]\naddress = '{there.address}'")
        run_file = RunFile(tmp_path)
        joined = await start_ray(
            tmp_path, config, ensure_credentials(tmp_path, ["paper"]), secrets, run_file
        )
        try:
            assert joined.address == there.address
            host = joined.start_host(
                HostSpec("creator", (0,), "creator-0-test-1", ShardSettings(1, 1)), NOWHERE
            )
            async with asyncio.timeout(60):
                await host.started()
            assert joined.lacking() == ""
        finally:
            await joined.stop(stop_s_max=30)
        assert processes_of(run_file.run) == []
        assert there.lacking() == ""
    finally:
        await there.stop(stop_s_max=0)
