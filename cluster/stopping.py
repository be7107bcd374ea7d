"""Stopping a command that runs a cluster: the first Ctrl-C, SIGTERM (`lockstep down`) or hang-up cancels it, which ends all that it
started; any more change nothing. The signals stay taken until everything has ended.
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
    """Run a command to its end, or until it is told to stop. Returns: what it returns, or what `stopped` does once it is stopped."""
    return uvloop.run(_run(work, stopped))


async def _run(work: Coroutine[Any, Any, T], stopped: Callable[[], T]) -> T:
    task = asyncio.ensure_future(work)
    is_stopping = False

    def stop() -> None:
        nonlocal is_stopping
        if is_stopping:
            say("stopping already; it ends when everything has ended")
            return
        is_stopping = True
        say("stopping")
        task.cancel()

    for number in SIGNALS:
        # Whoever is to outlive its terminal was started with the hang-up ignored.
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            asyncio.get_running_loop().add_signal_handler(number, stop)
    await asyncio.wait([task])
    if is_stopping and task.cancelled():
        return stopped()
    return task.result()


def say(text: str) -> None:
    """Tell the operator, who may be gone."""
    with contextlib.suppress(OSError):
        print(f"lockstep: {text}", file=sys.stderr, flush=True)
