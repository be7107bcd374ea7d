"""Cancelling a start: work that must be finished all the same, and cancellations that must not get
lost.

Before Python 3.12 `asyncio.wait_for` may swallow a cancellation and return. So nothing here uses
it. Where a library may use it, a call of `checkpoint` follows.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

_log = structlog.get_logger()

T = TypeVar("T")


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Finish a piece of work, however often the caller is cancelled meanwhile. A cancellation is
    raised afterwards.
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
    """Raise a cancellation of this task that a callee has swallowed."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
