"""Programs that are kept running: started again when they end, told apart from strangers, and
stopped with all they started.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from cluster.config.options import SupervisionOptions
from cluster.errors import ServerError
from cluster.processes.kept_program import ChildProgram, ProgramSpec, ProgramState
from cluster.processes.run_file import RunFile, read_run, start_mark
from tests.servers import until

pytestmark = pytest.mark.real

OPTIONS = SupervisionOptions(
    restart_ms_min=1, restart_ms_max=5, start_s_max=5, stop_s_max=1, server_silent_s_max=1
)
WAIT_S = 20.0


def make(tmp_path: Path, script: str, run_file: RunFile | None = None) -> ChildProgram:
    """Build a program from a script that touches `up` in its directory once it serves."""
    mark = tmp_path / "up"

    async def prepare() -> None:
        mark.unlink(missing_ok=True)

    async def ready() -> bool:
        return mark.exists()

    program = ProgramSpec(
        name="script",
        argv=(sys.executable, "-c", f"mark = {str(mark)!r}\n{script}"),
        log_path=tmp_path / "script.log",
        ready=ready,
        prepare=prepare,
    )
    return ChildProgram(program, run_file or RunFile(tmp_path), OPTIONS)


SERVE = "import time; open(mark, 'w').close(); time.sleep(600)"


async def test_a_program_has_the_timer_slack_it_is_given_and_its_parent_keeps_its_own(
    tmp_path: Path,
) -> None:
    ours = Path("/proc/self/timerslack_ns")
    before = ours.read_text()
    child = make(
        tmp_path,
        "import time; open(mark, "
        "'w').write(open('/proc/self/timerslack_ns').read()); time.sleep(600)",
    )
    child.program = child.program._replace(timer_slack_ns=345_000)
    await child.start()
    await until(lambda: (tmp_path / "up").read_text() != "")
    assert (tmp_path / "up").read_text().strip() == "345000"
    assert ours.read_text() == before
    await child.stop()


async def test_a_program_that_is_restarted_serves_again_as_another_process(tmp_path: Path) -> None:
    child = make(tmp_path, SERVE)
    await child.start()
    try:
        before = child.pid
        await child.restart()
        assert child.state is ProgramState.RUNNING
        assert child.pid not in (before, None)
        assert child.restarts_count == 1
    finally:
        await child.stop()


async def test_program_that_is_stopped_is_ended_and_started_again(tmp_path: Path) -> None:
    child = make(tmp_path, SERVE)
    await child.start()
    try:
        stopped = child.pid
        assert stopped is not None
        os.kill(stopped, signal.SIGSTOP)
        await until(
            lambda: child.state is ProgramState.RUNNING and child.pid not in (stopped, None)
        )
        assert start_mark(stopped) is None
    finally:
        await child.stop()


async def test_program_that_is_killed_is_started_again_and_recorded_anew(tmp_path: Path) -> None:
    child = make(tmp_path, SERVE)
    await child.start()
    try:
        for round_number in (1, 2, 3):
            killed = child.pid
            assert killed is not None
            os.kill(killed, signal.SIGKILL)
            await until(lambda expected=round_number: child.restarts_count == expected)  # type: ignore[misc]
            await asyncio.wait_for(child.wait_ready(), WAIT_S)
            assert child.state is ProgramState.RUNNING
            run = read_run(tmp_path)
            assert run is not None
            assert [(record.name, record.pid) for record in run.processes] == [
                ("script", child.pid)
            ]
            assert child.pid != killed
    finally:
        await child.stop()
    assert (child.state, child.pid) == (ProgramState.STOPPED, None)


async def test_program_that_ends_at_once_is_reported_with_its_last_words(tmp_path: Path) -> None:
    child = make(tmp_path, "import sys; sys.exit('no room left')")
    with pytest.raises(
        ServerError, match=r"expected a running server, found .* status 1.*\n.*no room left"
    ):
        await child.start()
    assert child.state is ProgramState.STOPPED


async def test_program_that_ignores_its_stop_signal_is_killed_with_its_children(
    tmp_path: Path,
) -> None:
    script = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "open(mark, 'w').close(); time.sleep(600)"
    )
    child = make(tmp_path, script)
    await child.start()
    assert child.pid is not None
    family = [psutil.Process(child.pid), *psutil.Process(child.pid).children()]
    assert len(family) == 2
    await child.stop()
    await until(
        lambda: not any(process.is_running() and start_mark(process.pid) for process in family)
    )


async def test_stopped_program_ends_on_stop(tmp_path: Path) -> None:
    child = make(tmp_path, SERVE)
    await child.start()
    assert child.pid is not None
    os.kill(child.pid, signal.SIGSTOP)
    await child.stop()
    assert child.pid is None


async def test_program_that_fails_to_start_again_is_tried_until_it_does(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    child = make(
        tmp_path, f"import os, sys\nif os.path.exists({str(broken)!r}): sys.exit(3)\n{SERVE}"
    )
    await child.start()
    try:
        broken.touch()
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        await until(lambda: child.restarts_count >= 3)
        broken.unlink()
        await asyncio.wait_for(child.wait_ready(), WAIT_S)
    finally:
        await child.stop()


async def test_program_that_refuses_its_supervisor_is_ended_and_started_again(
    tmp_path: Path,
) -> None:
    child = make(tmp_path, SERVE)
    ready = child.program.ready
    await child.start()
    try:
        first = child.pid

        async def refuses_the_first() -> bool:
            if child.pid == first:
                raise ServerError("expected it to take the password, found another")
            return await ready()

        child.program = child.program._replace(ready=refuses_the_first)
        await until(lambda: child.state is ProgramState.RUNNING and child.pid not in (first, None))
    finally:
        await child.stop()
