"""A cluster run as an operator runs it: `lockstep up` in a process of its own, which can be killed
with everything it started.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from cluster.processes.leftovers import processes_of
from cluster.processes.run_file import RunRecord, read_run

ROOT = Path(__file__).parents[3]
CONFIG = Path(__file__).with_name("kill.toml")
UP_S_MAX = 300.0
DOWN_S_MAX = 90.0
COMMAND = (sys.executable, "-c", "from cluster.command_line.entry import main; main()")


class RunningCluster:
    """`lockstep up` on one data directory."""

    def __init__(self, data: Path, config: Path = CONFIG) -> None:
        self.data = data
        self._config = config
        self._log = data.with_name(f"{data.name}.log")
        self._process: subprocess.Popen[bytes] | None = None

    def up(self) -> None:
        """Start it and wait until it says that it is up. Raises: RuntimeError with the end of its
        log.
        """
        self.start()
        assert self._process is not None
        give_up_s = time.monotonic() + UP_S_MAX
        while b"stop with Ctrl-C" not in self._log.read_bytes():
            if self._process.poll() is not None or time.monotonic() > give_up_s:
                raise RuntimeError(f"lockstep up did not come up:\n{self.log_tail()}")
            time.sleep(0.1)

    def start(self) -> None:
        """Start it."""
        assert self._process is None or self._process.poll() is not None, "expected it to be down"
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [*COMMAND, "up", "--data", str(self.data), "--config", str(self._config)],
                cwd=ROOT,
                env=_environment(),
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def log_tail(self, lines: int = 20) -> str:
        """Quote the end of its log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])

    @property
    def run(self) -> RunRecord:
        """The contents of run.json."""
        found = read_run(self.data)
        assert found is not None, "expected a run, found none"
        return found

    def kill(self) -> None:
        """Kill -9 the supervisor and everything that it started."""
        assert self._process is not None
        victims = [psutil.Process(self._process.pid), *processes_of(self.run)]
        for victim in victims:
            # Some end by themselves once those before them are gone.
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()
        psutil.wait_procs(victims, timeout=30)
        self._process.wait(timeout=30)

    def kill_supervisor(self) -> None:
        """Kill -9 the supervisor alone."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(timeout=30)

    def command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run another lockstep command on the data directory."""
        return subprocess.run(
            [*COMMAND, *arguments, "--data", str(self.data)],
            cwd=ROOT,
            env=_environment(),
            capture_output=True,
            text=True,
            timeout=DOWN_S_MAX,
            check=False,
        )

    def down(self) -> None:
        """Stop it with `lockstep down`, and leave nothing behind."""
        self.command("down")
        if self._process is not None:
            try:
                self._process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)


@contextlib.contextmanager
def temporary_cluster(prefix: str, config: Path = CONFIG) -> Iterator[RunningCluster]:
    """A cluster in a directory of its own, started as an operator starts it."""
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name:
        root = Path(name)
        root.chmod(0o755)
        running = RunningCluster(root / "data", config)
        try:
            running.up()
            yield running
        finally:
            running.down()


def _environment() -> dict[str, str]:
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
