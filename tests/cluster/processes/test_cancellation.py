"""Starts cancelled at each of their await points, and starters killed at the worst moment: nothing
that they started is left.
"""

import asyncio
import contextlib
import random
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from cluster.config.credentials import ensure_credentials
from cluster.config.file import read_secrets
from cluster.config.options import Config, SupervisionOptions
from cluster.processes.cancellation import checkpoint, to_the_end
from cluster.processes.kept_program import ChildProgram, ProgramSpec, ProgramState
from cluster.processes.leftovers import processes_of
from cluster.processes.run_file import RunFile, read_run
from cluster.running.data_directory import opened
from cluster.servers.nats_server import start_nats
from cluster.servers.servers import start_servers
from gateways.nats.connection import NatsConnectionOptions, connect_nats
from tests.cluster.processes.cancelling import CancelledAt

ROOT = Path(__file__).parents[3]
CONFIG = Config(supervision=SupervisionOptions(stop_s_max=5))
WAIT_S = 60.0
POINTS_MAX = 2000


async def cancelled_at_every_point(
    start: Callable[[], Coroutine[Any, Any, Any]],
    check: Callable[[], Awaitable[None]],
    *,
    again: int = 0,
) -> int:
    """Start over and over, cancelled one await point later each time, until it is no more. Returns:
    how many points there were.
    """
    for point in range(POINTS_MAX):
        work = CancelledAt(start(), point, again=again)

        async def waiting(work: CancelledAt[Any] = work) -> Any:
            return await work

        outcome = (await asyncio.gather(asyncio.create_task(waiting()), return_exceptions=True))[0]
        if not work.was_cancelled:
            assert not isinstance(outcome, BaseException), outcome
            await outcome.stop()
            await check()
            return point
        assert isinstance(outcome, asyncio.CancelledError), (
            f"cancelled at {point}, found {outcome!r}"
        )
        await check()
    raise AssertionError(f"expected at most {POINTS_MAX} await points")


async def test_work_is_done_to_its_end_however_often_it_is_cancelled() -> None:
    done: list[int] = []

    async def work() -> None:
        for number in range(20):
            await asyncio.sleep(0)
            done.append(number)

    async def caller() -> None:
        await CancelledAt(to_the_end(work()), 0, again=5)

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(caller())
    assert done == list(range(20))
    await to_the_end(work())
    with pytest.raises(ZeroDivisionError):
        await to_the_end(asyncio.to_thread(lambda: 1 // 0))


async def test_a_cancellation_that_was_swallowed_is_raised_at_the_next_checkpoint() -> None:
    async def deaf() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        checkpoint()
        raise AssertionError("a swallowed cancellation was forgotten")

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.real
@pytest.mark.parametrize("again", [0, 1, 4])
async def test_program_whose_start_is_cancelled_at_any_await_point_is_not_left(
    tmp_path: Path, again: int
) -> None:
    run_file, tries = RunFile(tmp_path), iter(range(POINTS_MAX))
    made: list[ChildProgram] = []

    async def start() -> ChildProgram:
        mark = tmp_path / f"up-{next(tries)}"

        async def ready() -> bool:
            await asyncio.sleep(0)
            return mark.exists()

        script = (
            "import subprocess, time; subprocess.Popen(['sleep', '600']); "
            f"open({str(mark)!r}, 'w').close(); time.sleep(600)"
        )
        program = ProgramSpec(
            name="script",
            argv=(sys.executable, "-I", "-c", script),
            log_path=tmp_path / "script.log",
            ready=ready,
        )
        made.append(ChildProgram(program, run_file, CONFIG.supervision))
        await made[-1].start()
        return made[-1]

    async def check() -> None:
        assert processes_of(run_file.run) == []
        assert made[-1].state is ProgramState.STOPPED
        assert made[-1].pid is None

    # The number of points differs from start to start: each polls until its program is ready.
    assert await cancelled_at_every_point(start, check, again=again) >= 2


@pytest.mark.real
async def test_nats_whose_start_is_cancelled_at_any_await_point_is_not_left(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    run_file, credentials = RunFile(tmp_path), ensure_credentials(tmp_path, ["paper"])

    async def check() -> None:
        assert processes_of(run_file.run) == []
        assert not listens(run_file.run.addresses["nats"])

    async def start() -> ChildProgram:
        return await start_nats(tmp_path, CONFIG, credentials, run_file)

    assert await cancelled_at_every_point(start, check) >= 2


@pytest.mark.real
async def test_connection_cancelled_at_any_await_point_is_closed(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    run_file, credentials = RunFile(tmp_path), ensure_credentials(tmp_path, ["paper"])
    server = await start_nats(tmp_path, CONFIG, credentials, run_file)
    engine = credentials.users["engine"]
    options = NatsConnectionOptions(
        url=run_file.run.addresses["nats"],
        user=engine.user,
        password=engine.password,
        inbox_prefix=engine.inbox_prefix,
    )

    class Closing:
        """A connection that can be stopped as a program is."""

        async def connect(self) -> "Closing":
            self.connection = await connect_nats(options)
            return self

        async def stop(self) -> None:
            await self.connection.close()

    async def check() -> None:
        # Nobody is left that goes on connecting, and no socket that warns when it is thrown away.
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert {
            task
            for task in others
            if "keep" not in task.get_name() and "nats" in repr(task.get_coro())
        } == set()

    try:
        assert await cancelled_at_every_point(lambda: Closing().connect(), check) > 0
    finally:
        await server.stop()


@pytest.mark.real
@pytest.mark.parametrize("seed", range(6))
async def test_servers_whose_start_is_cancelled_at_any_moment_are_not_left(
    tmp_path: Path, seed: int
) -> None:
    chosen = random.Random(seed)
    for _ in range(2):
        with opened(tmp_path, CONFIG) as run_file:
            starting = asyncio.create_task(
                start_servers(tmp_path, CONFIG, read_secrets({}), run_file)
            )
            wanted = chosen.sample(["nats", "postgres", "initdb"], k=chosen.randint(1, 2))
            deadline = time.monotonic() + WAIT_S
            while (
                not ({record.name for record in run_file.run.processes} & set(wanted))
                and not starting.done()
            ):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.001)
            for _ in range(chosen.randint(0, 300)):
                await asyncio.sleep(0.001)
            for _ in range(chosen.randint(1, 3)):
                starting.cancel()
                await asyncio.sleep(0)
            outcome = (await asyncio.gather(starting, return_exceptions=True))[0]
            if not isinstance(outcome, BaseException):
                # It was up before it could be cancelled.
                await outcome.stop()
            else:
                assert isinstance(outcome, asyncio.CancelledError), outcome
            assert processes_of(run_file.run) == []
            assert [
                name for name, address in run_file.run.addresses.items() if listens(address)
            ] == []
        assert read_run(tmp_path) is None


@pytest.mark.real
def test_run_that_ends_in_an_error_leaves_nothing_running_and_no_record(tmp_path: Path) -> None:
    started: list[tuple[RunFile, subprocess.Popen[bytes]]] = []

    def broken_off() -> None:
        with opened(tmp_path, CONFIG) as run_file:
            started.append((run_file, subprocess.Popen(["sleep", "60"], env=run_file.environment)))
            # The system shows its environment, by which alone it is known, a moment after it
            # started.
            while not processes_of(run_file.run):
                assert started[0][1].poll() is None
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        broken_off()
    run_file, child = started[0]
    # It ended, and its status is still its starter's to take.
    assert child.wait(WAIT_S) != 0
    assert processes_of(run_file.run) == []
    assert read_run(tmp_path) is None


# Its supervisor is killed after the program's process exists and before it is recorded.
KILLED_WHILE_IT_STARTS = """
import os, signal, sys
from pathlib import Path
from cluster.processes.run_file import RunFile
from cluster.processes.spawning import spawn
class Killed(RunFile):
    def record(self, role, name, pid):
        print(pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
data = Path(sys.argv[1])
argv = "touch", str(data / "ran")
spawn(Killed(data), role="server", name="x", argv=argv, log_path=data / "log")
"""


@pytest.mark.real
@pytest.mark.parametrize("_round", range(5))
def test_a_program_that_could_not_be_recorded_never_runs(tmp_path: Path, _round: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", KILLED_WHILE_IT_STARTS, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    pid = int(ended.stdout)
    deadline = time.monotonic() + WAIT_S
    while (
        Path(f"/proc/{pid}/cmdline").exists()
        and b"touch" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ):
        assert time.monotonic() < deadline, "the gate is still there"
        time.sleep(0.01)
    assert not (tmp_path / "ran").exists()


def listens(address: str) -> bool:
    """Return whether a process takes connections at the port that an address ends with."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(address.rpartition(":")[2]))) == 0
