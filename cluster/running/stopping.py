"""Stopping a command that runs a cluster. The first Ctrl-C, SIGTERM (`lockstep down`) or hang-up
cancels the command, which ends all that it started. Further signals change nothing, up to the end
of the process.
"""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_until_stopped(work: Coroutine[Any, Any, T], *, stopped: Callable[[], T]) -> T:
    """Run a command to its end, or until it is told to stop. Returns: the command's result, or
    that of `stopped` once it was stopped.
    """
    stop = _Stop()
    # The loop's own handlers would go with the loop, and a second signal at that moment would end
    # the process.
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        # A process that shall outlive its terminal was started with the hang-up ignored.
        if number is not signal.SIGHUP or before[number] is not signal.SIG_IGN:
            signal.signal(number, stop.take)
    try:
        return uvloop.run(_run(work, stop, stopped))
    finally:
        for number, handler in before.items():
            # A closing interpreter resets handlers, but an ignored signal stays ignored.
            signal.signal(number, signal.SIG_IGN if stop.is_told else handler)


class _Stop:
    """The order to stop, if it came, and the task that is cancelled then."""

    def __init__(self) -> None:
        self.is_told = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Future[Any] | None = None

    def take(self, number: int, frame: object) -> None:
        """Take a signal. It may come between any two steps of this process."""
        say("stopping already; it ends when everything has ended" if self.is_told else "stopping")
        if not self.is_told and self._loop is not None and self._task is not None:
            self._loop.call_soon_threadsafe(self._task.cancel)
        self.is_told = True

    def watch(self, task: asyncio.Future[Any]) -> None:
        """Cancel a task of the running loop as soon as a signal is taken, or was."""
        self._loop, self._task = asyncio.get_running_loop(), task
        if self.is_told:
            task.cancel()


async def _run(work: Coroutine[Any, Any, T], stop: _Stop, stopped: Callable[[], T]) -> T:
    task = asyncio.ensure_future(work)
    stop.watch(task)
    await asyncio.wait([task])
    if stop.is_told and task.cancelled():
        return stopped()
    return task.result()


def say(text: str) -> None:
    """Print a line for the operator, who may be gone."""
    with contextlib.suppress(OSError, RuntimeError):
        print(f"lockstep: {text}", file=sys.stderr, flush=True)
