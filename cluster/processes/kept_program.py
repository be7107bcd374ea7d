"""Child programs that are kept running.

    STOPPED --start--> STARTING --ready--> RUNNING --stop--> STOPPED
                          ^                   |
                          +---(pause, doubling)---exit, or silence

A program writes to its own log file. Its preparation runs before every start, because starting is
always recovery. A start or a stop that is cancelled first ends the process that it started, however
often it is cancelled.
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import psutil
import structlog

from actors.backoff import Backoff
from cluster.config.options import SupervisionOptions
from cluster.errors import ServerError
from cluster.processes.cancellation import checkpoint, to_the_end
from cluster.processes.run_file import SERVER_ROLE, RunFile
from cluster.processes.spawning import Child, spawn

log = structlog.get_logger()

READY_POLL_S = 0.02
READY_S_MAX = 2.0
PROBE_S = 2.0
LOG_TAIL_BYTES = 2000
STEADY_S = 10.0
"""After running this long a program's next restart begins with the shortest pause again."""


class ProgramState(StrEnum):
    """State of a program's life."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"


class ProgramSpec(NamedTuple):
    """A program to run. `prepare` runs before each start. `ready` returns whether the program
    serves; it may raise OSError while it does not, and ServerError when it cannot.
    """

    name: str
    argv: Sequence[str]
    log_path: Path
    ready: Callable[[], Awaitable[bool]]
    prepare: Callable[[], Awaitable[None]] | None = None
    environment: Mapping[str, str] = {}
    stop_signal: signal.Signals = signal.SIGTERM
    timer_slack_ns: int | None = None
    """The delay that its timers may have; None for the system's default."""


class ChildProgram:
    """One program, run as a child of the supervisor and started again whenever it ends."""

    def __init__(
        self, program: ProgramSpec, run_file: RunFile, options: SupervisionOptions
    ) -> None:
        self.program = program
        self.state = ProgramState.STOPPED
        self.restarts_count = 0
        self._run_file = run_file
        self._options = options
        self._process: Child | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """The process id of the current incarnation; None between two."""
        return (
            None
            if self._process is None or self._process.returncode is not None
            else self._process.pid
        )

    async def start(self) -> None:
        """Start the program, wait until it serves, and keep it running from then on. Raises:
        ServerError.
        """
        assert self.state is ProgramState.STOPPED, (
            f"{self.program.name} is {self.state}, expected stopped"
        )
        self.state = ProgramState.STARTING
        try:
            await self._launch()
        except BaseException:
            await self.stop()
            raise
        self._keeper = asyncio.create_task(self._keep(), name=f"keep {self.program.name}")

    async def stop(self) -> None:
        """Stop the program for good: its stop signal, and after `stop_s_max` SIGKILL to it and its
        children.
        """
        await to_the_end(self._stop())

    async def restart(self) -> None:
        """End the program as `stop` does, and wait until its keeper has started it again."""
        assert self._keeper is not None, f"{self.program.name}: expected it to be kept running"
        self._ready.clear()
        await self._end()
        await self.wait_ready()

    async def _stop(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
            self._keeper = None
        await self._end()
        self._ready.clear()
        self.state = ProgramState.STOPPED

    async def wait_ready(self) -> None:
        """Wait until the program serves, now or after its next start."""
        await self._ready.wait()

    async def _launch(self) -> None:
        program = self.program
        if program.prepare is not None:
            await program.prepare()
        self._process = spawn(
            self._run_file,
            role=SERVER_ROLE,
            name=program.name,
            argv=program.argv,
            log_path=program.log_path,
            environment=program.environment,
            timer_slack_ns=program.timer_slack_ns,
        )
        await self._await_ready(self._process)
        self.state = ProgramState.RUNNING
        self._ready.set()
        log.info("program_running", name=program.name, pid=self._process.pid)

    async def _await_ready(self, process: Child) -> None:
        deadline = time.monotonic() + self._options.start_s_max
        ended = asyncio.ensure_future(process.wait())
        try:
            while time.monotonic() < deadline:
                if ended.done():
                    raise ServerError(
                        f"{self.program.name}: expected a running server, found that "
                        f"it ended with status {ended.result()}; "
                        f"its log {self.program.log_path} ends with:\n{self._log_tail()}"
                    )
                if await self._is_ready():
                    return
                await asyncio.wait([ended], timeout=READY_POLL_S)
        finally:
            ended.cancel()
        raise ServerError(
            f"{self.program.name}: expected it to serve within "
            f"{self._options.start_s_max} s, found no answer; "
            f"its log {self.program.log_path} ends with:\n{self._log_tail()}"
        )

    async def _keep(self) -> None:
        options = self._options
        backoff = Backoff(options.restart_ms_min / 1000, options.restart_ms_max / 1000)
        while True:
            process = self._process
            assert process is not None
            began = time.monotonic()
            status = await self._until_over(process)
            self._ready.clear()
            self.state = ProgramState.STARTING
            self.restarts_count += 1
            log.warning("program_ended", name=self.program.name, pid=process.pid, status=status)
            if time.monotonic() - began > STEADY_S:
                backoff.reset()
            await asyncio.sleep(backoff.next_s())
            try:
                await self._launch()
            except (ServerError, OSError) as error:
                log.error("program_start_failed", name=self.program.name, error=str(error))
                await self._end()

    async def _until_over(self, process: Child) -> int:
        """Wait until the program ends. End one that is halted or does not answer for too long.
        Returns: its status.
        """
        ended = asyncio.ensure_future(process.wait())
        answered_s = time.monotonic()
        try:
            while not ended.done():
                await asyncio.wait([ended], timeout=PROBE_S)
                if ended.done() or await self._answers(process.pid):
                    answered_s = time.monotonic()
                elif time.monotonic() - answered_s > self._options.server_silent_s_max:
                    log.warning("program_silent", name=self.program.name, pid=process.pid)
                    process.kill()
            return ended.result()
        finally:
            ended.cancel()

    async def _answers(self, pid: int) -> bool:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_STOPPED:
                return False
        except psutil.Error:
            return False
        try:
            return await self._is_ready()
        except ServerError as error:
            log.error("program_refuses", name=self.program.name, error=str(error))
            return False

    async def _is_ready(self) -> bool:
        try:
            async with asyncio.timeout(READY_S_MAX):
                return await self.program.ready()
        except OSError:
            return False
        finally:
            checkpoint()

    async def _end(self) -> None:
        """End the current incarnation and every process that it started."""
        if self._process is not None:
            await self._process.end(self.program.stop_signal, stop_s_max=self._options.stop_s_max)

    def _log_tail(self) -> str:
        with contextlib.suppress(OSError):
            return (
                self.program.log_path.read_bytes()[-LOG_TAIL_BYTES:]
                .decode(errors="replace")
                .strip()
            )
        return ""
