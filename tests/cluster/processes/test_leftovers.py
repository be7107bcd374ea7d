"""Processes that a killed run left behind are stopped, and strangers are not."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from cluster.processes.leftovers import clear_leftovers
from cluster.processes.run_file import RunFile, read_run
from tests.servers import until

pytestmark = pytest.mark.real


def _start(argv: list[str], extra: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(argv, env={**os.environ, **extra})


async def test_leftovers_of_a_killed_run_are_stopped_and_strangers_are_not(tmp_path: Path) -> None:
    run_file = RunFile(tmp_path)
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
    named, marked, stranger = (_start(sleeper, extra) for extra in ({}, run_file.environment, {}))
    try:
        await until(lambda: len(psutil.Process(marked.pid).cmdline()) == 3)
        run_file.record("server", "named", named.pid)
        # The stranger has the id of a process of the run that ended long ago.
        reused = {
            "role": "server",
            "name": "reused",
            "pid": stranger.pid,
            "started": "another-boot/1",
        }
        stored = json.loads((tmp_path / "run.json").read_text())
        stored["processes"].append(reused)
        (tmp_path / "run.json").write_text(json.dumps(stored))
        os.kill(marked.pid, signal.SIGSTOP)
        assert clear_leftovers(tmp_path, stop_s_max=2) == 2
        assert named.poll() is not None
        assert marked.poll() is not None
        assert stranger.poll() is None
        assert read_run(tmp_path) is None
    finally:
        for process in (named, marked, stranger):
            process.kill()
            process.wait()


@pytest.mark.parametrize("damaged", ["", "{", "[]"])
async def test_a_damaged_record_is_made_up_for_by_what_the_processes_say(
    tmp_path: Path, damaged: str
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "other").mkdir()
    mine, other = RunFile(tmp_path / "mine"), RunFile(tmp_path / "other")
    shell = ["/bin/sh", "-c", "sleep 600 & wait"]
    left, stranger = (_start(shell, run.environment) for run in (mine, other))
    try:
        await until(lambda: len(psutil.Process(left.pid).children()) == 1)
        (tmp_path / "mine" / "run.json").write_text(damaged)
        assert clear_leftovers(tmp_path / "mine", stop_s_max=2) == 2
        assert left.poll() is not None
        assert stranger.poll() is None
        assert read_run(tmp_path / "mine") is None
    finally:
        for process in (left, stranger):
            for child in psutil.Process(process.pid).children() if process.poll() is None else []:
                child.kill()
            process.kill()
            process.wait()
