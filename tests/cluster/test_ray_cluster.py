"""The local Ray as it really is: on loopback only, and gone without a trace after an orderly stop or the death of its supervisor."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.leftovers import clear_leftovers, processes_of
from cluster.run_file import read_run, start_mark
from tests.cluster.listening import listening_addresses

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]


@pytest.fixture
def data() -> Iterator[Path]:
    # Longer than Ray's socket paths allow, as a directory of the operator's choosing may be.
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / ("long" * 20)
        (path / "logs").mkdir(parents=True)
        yield path


def start_driver(data: Path) -> tuple[subprocess.Popen[str], int]:
    driver = subprocess.Popen(
        [sys.executable, "-m", "tests.cluster.ray_supervisor", str(data)],
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
