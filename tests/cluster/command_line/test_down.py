"""Stopping a cluster from outside: the supervisor ends, what it left behind ends, strangers
live.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from cluster.command_line.down import run
from cluster.processes.run_file import read_run, start_mark

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[3]

# Takes SIGTERM as a crash would: it ends without stopping its child.
SUPERVISOR = """
import os, subprocess, sys, time
from pathlib import Path
from cluster.processes.run_file import DirectoryLock, RunFile
data = Path(sys.argv[1])
lock = DirectoryLock(data)
lock.acquire()
run_file = RunFile(data)
sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
env = {**os.environ, **run_file.environment}
child = subprocess.Popen(sleeper, env=env, start_new_session=True)
run_file.record("server", "sleeper", child.pid)
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("supervisor_dies_first", [False, True])
def test_down_stops_the_supervisor_and_its_leftovers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], supervisor_dies_first: bool
) -> None:
    supervisor = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert supervisor.stdout is not None
        child_pid = int(supervisor.stdout.readline())
        if supervisor_dies_first:
            supervisor.kill()
            supervisor.wait()
        assert run(tmp_path) == 0
        assert "1 processes of a dead supervisor stopped" in capsys.readouterr().out
        supervisor.wait(timeout=10)
        assert start_mark(child_pid) is None
        assert read_run(tmp_path) is None
    finally:
        supervisor.kill()
        supervisor.communicate()
