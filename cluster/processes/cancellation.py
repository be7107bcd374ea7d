"""Cancelling a start: what must be finished all the same, and what must not be overheard.

`asyncio.wait_for` may take a cancellation for its own and return (before Python 3.12), so nothing
here uses it, and where a library might, `checkpoint` follows.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

_log = structlog.get_logger()

T = TypeVar("T")


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Do all of a piece of work, however often the caller is cancelled meanwhile; a cancellation is
    raised when it is done.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return task.result()
    if not task.cancelled() and (failure := task.exception()) is not None:
        _log.error("failed_while_cancelled", error=f"{type(failure).__name__}: {failure}")
    raise cancelled


def checkpoint() -> None:
    """Raise a cancellation of this task that somebody below has swallowed."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
