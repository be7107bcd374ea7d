"""Seeded rounds of starts that are broken off: `python -m tests.cluster.running.broken_starts
--rounds 60 --seed 1`.

    lockstep up --stage reached--> struck (Ctrl-C once or twice, SIGTERM, lockstep down, kill -9) --ended--> nothing of it is left

A stage is a condition on what the start has done so far, and a few milliseconds on top of it. What
is left is judged by the operating system alone: every process ever seen below the supervisor or
carrying its token, every port that one of them listened on.
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
from cluster.processes.run_file import RUN_TOKEN_VARIABLE, Run, read_run, start_mark

ROOT = Path(__file__).parents[3]
COMMAND = (sys.executable, "-c", "from cluster.command_line.entry import main; main()")
STAGE_S_MAX = 300.0
END_S_MAX = 120.0
STEP_S = 0.02
PORTS_S = 0.5
"""How often it is looked for ports, which takes long."""
STRIKES = ("interrupt", "interrupt twice", "terminate", "down", "kill, then down", "kill, then up")


class Seen:
    """What was seen of one start: its processes by id and start mark, its tokens, its ports."""

    def __init__(self, supervisor: int) -> None:
        self.supervisor = supervisor
        self.processes: dict[int, str] = {}
        self.names: set[str] = set()
        self.tokens: set[str] = set()
        self.ports: set[int] = set()
        self._ports_s = 0.0

    def look(self, run: Run | None) -> None:
        """Look at what is there now."""
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


class Stage(NamedTuple):
    """How far a start has come."""

    name: str
    is_reached: Callable[[Path, Run | None, Seen], bool]


def _names(name: str) -> Callable[[Path, Run | None, Seen], bool]:
    return lambda data, run, seen: name in seen.names


STAGES = (
    Stage("locked", lambda data, run, seen: (data / "lock").exists()),
    Stage("run.json", lambda data, run, seen: run is not None),
    Stage("nats started", _names("nats")),
    Stage("postgres started", _names("postgres")),
    Stage(
        "streams made",
        lambda data, run, seen: (data / "nats" / "store").exists() and "driver" in seen.names,
    ),
    Stage("driver started", _names("driver")),
    Stage("gcs started", _names("gcs_server")),
    Stage("raylet started", _names("raylet")),
    Stage("Ray up", lambda data, run, seen: run is not None and "ray" in run.addresses),
    Stage("broker started", _names("broker")),
    Stage(
        "host started",
        lambda data, run, seen: any(
            name.startswith("ray::") and name != "ray::IDLE" for name in seen.names
        ),
    ),
    Stage("up", lambda data, run, seen: b"stop with" in data.with_suffix(".log").read_bytes()),
)


def play(data: Path, stage: Stage, strike: str, delay_s: float) -> None:
    """Start, strike at a stage, and see that nothing is left. Raises: AssertionError naming what
    is.
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


def _reach(data: Path, stage: Stage, seen: Seen, process: "subprocess.Popen[bytes]") -> None:
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


def _run(data: Path) -> Run | None:
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
