"""Seeded rounds of starts that are broken off.

    python -m tests.cluster.running.broken_starts --rounds 60 --seed 1

    lockstep up --a stage is reached--> struck --ended--> nothing of it is left

A stage is a condition on what the start has done, and a few milliseconds on top of it. A strike is
Ctrl-C once or twice, SIGTERM, `lockstep down` or kill -9. The operating system alone says what is
left: each process ever seen below the supervisor or with its token, and each port that one of them
listened on.
"""

import argparse
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psutil

from cluster.errors import ClusterError
from cluster.processes.run_file import RUN_TOKEN_VARIABLE, RunRecord, read_run, start_mark

ROOT = Path(__file__).parents[3]
COMMAND = (sys.executable, "-c", "from cluster.command_line.entry import main; main()")
STAGE_S_MAX = 300.0
END_S_MAX = 120.0
STEP_S = 0.02
PORTS_S = 0.5
"""How often it is looked for ports, which takes long."""
STRIKES = ("interrupt", "interrupt twice", "terminate", "down", "kill, then down", "kill, then up")


class Seen:
    """The processes of one start by id and start mark, its tokens and its ports."""

    def __init__(self, supervisor: int) -> None:
        self.supervisor = supervisor
        self.processes: dict[int, str] = {}
        self.names: set[str] = set()
        self.tokens: set[str] = set()
        self.ports: set[int] = set()
        self._ports_s = 0.0

    def look(self, run: RunRecord | None) -> None:
        """Record the processes and ports of this moment."""
        if run is not None:
            self.tokens.add(run.token)
            self.names |= {
                record.name.rpartition("-")[0] or record.name for record in run.processes
            }
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.supervisor).children(recursive=True)
            for child in children:
                if child.pid not in self.processes and (mark := start_mark(child.pid)) is not None:
                    self.processes[child.pid] = mark
                with contextlib.suppress(psutil.Error):
                    self.names.add(child.name())
            if time.monotonic() - self._ports_s > PORTS_S:
                self._ports_s = time.monotonic()
                self.ports |= {port for child in children for port in _ports(child)}

    def left(self) -> list[str]:
        """Describe what still runs or listens."""
        return self.running() + [f"port {port}" for port in sorted(self.ports) if _listens(port)]

    def running(self) -> list[str]:
        """Describe what still runs."""
        alive = {pid for pid, mark in self.processes.items() if start_mark(pid) == mark}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                is_marked = process.environ().get(RUN_TOKEN_VARIABLE) in self.tokens
                is_theirs = not process.environ() and os.getsid(process.pid) in self.processes
                if (is_marked or is_theirs) and start_mark(process.pid) is not None:
                    alive.add(process.pid)
        found = []
        for pid in sorted(alive):
            with contextlib.suppress(psutil.Error):
                found.append(f"{pid} {psutil.Process(pid).name()}")
        return found


class StartStage(NamedTuple):
    """A point that a start reaches."""

    name: str
    is_reached: Callable[[Path, RunRecord | None, Seen], bool]


def _names(name: str) -> Callable[[Path, RunRecord | None, Seen], bool]:
    return lambda data, run, seen: name in seen.names


STAGES = (
    StartStage("locked", lambda data, run, seen: (data / "lock").exists()),
    StartStage("run.json", lambda data, run, seen: run is not None),
    StartStage("nats started", _names("nats")),
    StartStage("postgres started", _names("postgres")),
    StartStage(
        "streams made",
        lambda data, run, seen: (data / "nats" / "store").exists() and "driver" in seen.names,
    ),
    StartStage("driver started", _names("driver")),
    StartStage("gcs started", _names("gcs_server")),
    StartStage("raylet started", _names("raylet")),
    StartStage("Ray up", lambda data, run, seen: run is not None and "ray" in run.addresses),
    StartStage("broker started", _names("broker")),
    StartStage(
        "host started",
        lambda data, run, seen: any(
            name.startswith("ray::") and name != "ray::IDLE" for name in seen.names
        ),
    ),
    StartStage("up", lambda data, run, seen: b"stop with" in data.with_suffix(".log").read_bytes()),
)


def play(data: Path, stage: StartStage, strike: str, delay_s: float) -> None:
    """Start, strike at a stage, and check that nothing is left. Raises: AssertionError naming the
    rest.
    """
    process = _up(data)
    seen = Seen(process.pid)
    try:
        _reach(data, stage, seen, process)
        time.sleep(delay_s)
        _struck(data, strike, seen, process)
        seen.look(None)
        assert seen.left() == [], f"left by {strike} at {stage.name}: {seen.left()}"
        assert not (data / "run.json").exists(), f"run.json is left by {strike} at {stage.name}"
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
            _command("down", data)


def _up(data: Path) -> "subprocess.Popen[bytes]":
    with data.with_suffix(".log").open("wb") as output:
        return subprocess.Popen(
            [*COMMAND, "up", "--data", str(data)],
            cwd=ROOT,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _reach(data: Path, stage: StartStage, seen: Seen, process: "subprocess.Popen[bytes]") -> None:
    give_up_s = time.monotonic() + STAGE_S_MAX
    while True:
        run = _run(data)
        if run is not None and run.supervisor.pid != process.pid:
            # A killed one's, not yet cleared.
            run = None
        seen.look(run)
        if stage.is_reached(data, run, seen):
            return
        log = data.with_suffix(".log").read_text(errors="replace")
        assert process.poll() is None, f"it ended before {stage.name}:\n{log}"
        assert time.monotonic() < give_up_s, f"it did not come to {stage.name}:\n{log}"
        time.sleep(STEP_S)


def _struck(data: Path, strike: str, seen: Seen, process: "subprocess.Popen[bytes]") -> None:
    """Strike and wait until it is over."""
    match strike:
        case "interrupt":
            process.send_signal(signal.SIGINT)
        case "interrupt twice":
            process.send_signal(signal.SIGINT)
            time.sleep(0.05)
            process.send_signal(signal.SIGINT)
        case "terminate":
            process.send_signal(signal.SIGTERM)
        case "down":
            assert _command("down", data) == 0
        case _:
            process.kill()
            process.wait()
            if strike == "kill, then down":
                assert _command("down", data) == 0
                return
            again = _up(data)
            later = Seen(again.pid)
            try:
                # What the killed one left is stopped before anything is started.
                _reach(data, STAGES[2], later, again)
                assert seen.running() == [], f"left beside the next start: {seen.running()}"
                again.send_signal(signal.SIGINT)
                assert again.wait(END_S_MAX) == 1
                assert later.left() == []
            finally:
                again.kill()
                again.wait()
            return
    status = process.wait(END_S_MAX)
    log = data.with_suffix(".log").read_text(errors="replace")
    was_up = "stop with" in log
    assert status == (0 if was_up else 1), f"it ended with {status}:\n{log}"
    assert "Traceback" not in log, log


def _command(name: str, data: Path) -> int:
    return subprocess.run(
        [*COMMAND, name, "--data", str(data)],
        cwd=ROOT,
        capture_output=True,
        timeout=END_S_MAX,
        check=False,
    ).returncode


def _run(data: Path) -> RunRecord | None:
    try:
        return read_run(data)
    except ClusterError:
        return None


def _ports(process: psutil.Process) -> set[int]:
    try:
        found = process.net_connections("tcp")
    except psutil.Error:
        return set()
    return {one.laddr.port for one in found if one.status == psutil.CONN_LISTEN}


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def main() -> int:
    """Play rounds and tell each. Returns: how many failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chosen, failed = random.Random(options.seed), 0
    with tempfile.TemporaryDirectory(prefix="lockstep-starts-") as folder:
        for number in range(options.rounds):
            # Every other one starts from nothing.
            data = Path(folder) / f"data-{number // 2}"
            stage, strike = STAGES[number % len(STAGES)], chosen.choice(STRIKES)
            delay_s, began_s = chosen.choice((0.0, chosen.uniform(0, 0.5))), time.monotonic()
            try:
                play(data, stage, strike, delay_s)
                outcome = "nothing left"
            except (AssertionError, subprocess.TimeoutExpired) as error:
                failed += 1
                outcome = f"FAILED: {error}"
            took_s = time.monotonic() - began_s
            print(
                f"{number + 1:3} {stage.name}, +{delay_s * 1000:.0f} ms, "
                f"{strike}, {took_s:.1f} s: {outcome}",
                flush=True,
            )
    print(f"seed {options.seed}: {options.rounds} rounds, {failed} failed")
    return failed


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
