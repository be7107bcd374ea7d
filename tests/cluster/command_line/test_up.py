"""`lockstep up` as its operator meets it: what a second one, `status`, `audit` and `down` say,
where it listens, what a kill does to it.
"""

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from cluster.processes.leftovers import processes_of
from cluster.processes.run_file import read_run, start_mark
from tests.cluster.running.broken_starts import STAGES, STRIKES, play
from tests.cluster.servers.listening import listening_addresses
from tests.faults.kill.running import COMMAND, CONFIG, ROOT, RunningCluster

pytestmark = pytest.mark.real

WAIT_S = 300.0


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def cluster() -> Iterator[RunningCluster]:
    with tempfile.TemporaryDirectory(prefix="lockstep-up-", ignore_cleanup_errors=True) as name:
        found = RunningCluster(Path(name) / "data")
        try:
            yield found
        finally:
            found.down()


@pytest.fixture
def running(cluster: RunningCluster) -> RunningCluster:
    """The module's cluster, which each test finds up: started by the first that needs it, and after
    one that took it down.
    """
    if read_run(cluster.data) is None:
        cluster.up()
    return cluster


def test_everything_that_was_started_listens_on_loopback_only(running: RunningCluster) -> None:
    everything = [psutil.Process(running.run.supervisor.pid), *processes_of(running.run)]
    names = {process.name() for process in everything}
    assert {"nats-server", "postgres", "gcs_server", "raylet"} <= names
    assert sum("Actor" in name for name in names) >= 3, names
    assert listening_addresses(everything) <= {"127.0.0.1", "::1"}


def test_second_up_on_the_directory_is_refused(running: RunningCluster) -> None:
    before = running.run
    second = running.command("up", "--config", str(CONFIG))
    assert second.returncode == 2
    assert (
        f"found it running in process {before.supervisor.pid}; stop it with `lockstep down"
        in second.stderr
    )
    assert second.stderr.count("\n") == 1
    assert (running.run.token, running.run.supervisor) == (before.token, before.supervisor)


def test_ray_whose_driver_is_killed_comes_back_whole(running: RunningCluster) -> None:
    driver = next(record for record in running.run.processes if record.name == "driver")
    before = [
        process
        for process in processes_of(running.run)
        if process.name() in ("gcs_server", "raylet")
    ]
    os.kill(driver.pid, signal.SIGKILL)

    def is_back() -> bool:
        status = json.loads(running.command("status", "--json").stdout)
        servers = {server["name"]: server for server in status["servers"]}
        return (
            all(
                servers.get(name, {}).get("state") == "running"
                for name in ("ray-driver", "ray-gcs", "ray-raylet")
            )
            and servers["ray-driver"]["restarts"] >= 1
            and all(actor["state"] == "live" for actor in status["actors"])
        )

    until(is_back)
    assert [process.pid for process in before if start_mark(process.pid) is not None] == []


def test_down_waits_until_everything_has_ended_and_says_so(running: RunningCluster) -> None:
    run = running.run
    everything = processes_of(run)
    down = running.command("down")
    assert down.returncode == 0, down.stderr
    assert down.stdout.splitlines() == [
        f"stopping the cluster in {running.data}, process {run.supervisor.pid}",
        f"cluster in {running.data} is down",
    ]
    assert start_mark(run.supervisor.pid) is None
    assert [process for process in everything if start_mark(process.pid) is not None] == []
    assert read_run(running.data) is None
    again = running.command("down")
    assert (again.returncode, again.stdout) == (0, f"no cluster runs in {running.data}\n")
    status = running.command("status")
    assert (status.returncode, status.stderr.count("\n")) == (1, 1)
    assert "expected a running cluster, found none; start it with: lockstep up" in status.stderr


@pytest.mark.parametrize("command", ["status", "down", "audit"])
def test_directory_that_is_not_there_is_named_with_exit_code_2(
    tmp_path: Path, command: str
) -> None:
    absent = tmp_path / "absent"
    found = subprocess.run(
        [*COMMAND, command, "--data", str(absent)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 2
    assert (
        found.stderr == f"lockstep: --data {absent}: expected the data "
        "directory of a cluster, found none there\n"
    )
    assert found.stdout == ""


@pytest.mark.parametrize(
    ("stage", "strike"),
    [
        ("nats started", "interrupt twice"),
        ("raylet started", "down"),
        ("host started", "terminate"),
        ("gcs started", "kill, then up"),
    ],
)
def test_start_that_is_broken_off_leaves_nothing(tmp_path: Path, stage: str, strike: str) -> None:
    assert strike in STRIKES
    play(tmp_path / "data", next(found for found in STAGES if found.name == stage), strike, 0.0)


# A replay is stopped as a running cluster is.
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_replay_that_is_stopped_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    inputs = [
        f"--{name}={ROOT / 'examples' / name}.csv"
        for name in ("creators", "followers", "fills", "prices", "instruments")
    ]
    command = [*COMMAND, "replay", *inputs, f"--out={tmp_path / 'out'}"]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        until(
            lambda: (
                (found := read_run(tmp_path / "out" / "data")) is not None
                and "nats" in found.addresses
            )
        )
        run = read_run(tmp_path / "out" / "data")
        assert run is not None
        process.send_signal(number)
        _, error = process.communicate(timeout=WAIT_S)
        assert process.returncode == 1
        logged = [line for line in error.splitlines() if line.startswith("{")]
        assert json.loads(logged[0])["event"] == "replay_starting"
        assert [line for line in error.splitlines() if line not in logged] == [
            "lockstep: stopping",
            "lockstep: the replay was stopped; its cluster is down",
        ]
        assert processes_of(run) == []
        assert read_run(tmp_path / "out" / "data") is None
    finally:
        process.kill()
        process.communicate()
