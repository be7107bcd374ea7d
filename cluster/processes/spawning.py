"""Starting child processes so that none is ever unknown.

    forked, waits at a gate --written down in run.json--> becomes the program --ended--> reaped

Starting is one synchronous step, so no cancellation finds a process without its handle. The program
begins only after its id is on disk. If the supervisor is killed in between, a shell is left that
reads the end of its input and ends.

Every program leads a session of its own, so that Ctrl-C reaches the supervisor alone. Its process
group is killed before it is reaped, while its id still belongs to it.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from cluster.private_file import OTHERS_MASK
from cluster.processes.leftovers import end_family, family_of
from cluster.processes.run_file import RunFile
from cluster.processes.timer_slack import inherited_timer_slack

GATE = ("/bin/sh", "-c", 'read -r go && exec "$@"', "lockstep")
POLL_S = 0.02


class Child:
    """A started program. Its process id stays its own until somebody has waited for it, even after
    it has ended.
    """

    def __init__(self, process: subprocess.Popen[bytes], channel: socket.socket) -> None:
        self._process = process
        self._channel: socket.socket | None = channel

    @property
    def pid(self) -> int:
        """The id of the process, its group and its session."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The status that it ended with, negative for a signal; None while it runs, or until
        somebody has waited for it.
        """
        return self._process.returncode

    def take_channel(self) -> socket.socket:
        """Take this end of the socket that is the program's standard input. The taker closes it."""
        channel, self._channel = self._channel, None
        assert channel is not None, "the channel is taken once"
        return channel

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the program alone, and continue it if it is halted, so that it takes the
        signal.
        """
        if self._process.returncode is None:
            os.kill(self.pid, number)
            os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """Kill its process group."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    async def wait(self) -> int:
        """Wait until the program has ended, then kill the rest of its group. Returns: its
        status.
        """
        if self._process.returncode is None:
            await _until_ended(self.pid)
            self.kill()
        if self._channel is not None:
            self._channel.close()
        # The program has ended, so this does not wait.
        return self._process.wait()

    async def end(self, number: signal.Signals, *, stop_s_max: float) -> None:
        """End the program and all that it started: by a signal if there is time, then by SIGKILL.
        Raises: TimeoutError when a process survives.
        """
        if self._process.returncode is not None:
            return
        family = await asyncio.to_thread(family_of, self.pid)
        if stop_s_max > 0:
            self.send_signal(number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(stop_s_max):
                    await _until_ended(self.pid)
        self.kill()
        await _until_ended(self.pid)
        await asyncio.to_thread(end_family, self.pid, family)
        await self.wait()


def spawn(
    run_file: RunFile,
    *,
    role: str,
    name: str,
    argv: Sequence[str],
    log_path: Path,
    environment: Mapping[str, str] | None = None,
    timer_slack_ns: int | None = None,
) -> Child:
    """Start a program, marked by the run's token. It is written down in run.json before it begins,
    and its output is appended to a log file.
    """
    with log_path.open("ab") as output:
        ours, its = socket.socketpair()
        with its, inherited_timer_slack(timer_slack_ns):
            process = subprocess.Popen(
                [*GATE, *argv],
                stdin=its.fileno(),
                stdout=output,
                stderr=output,
                start_new_session=True,
                env={**os.environ, **(environment or {}), **run_file.environment},
                umask=OTHERS_MASK,
            )
    try:
        run_file.record(role, name, process.pid)
        ours.sendall(b"go\n")
    except BaseException:
        # The gate stays closed, so the process ends by itself.
        ours.close()
        process.wait()
        raise
    return Child(process, ours)


async def _until_ended(pid: int) -> None:
    """Wait until a child has ended, without reaping it."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        # The kernel has no pidfds.
        while not _has_ended(pid):  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)
        return
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _has_ended(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True
