"""Retries of what is safe to repeat: a read, or a write under a message id."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from actors.backoff import Backoff
from actors.errors import OperatingError, OutcomeUnknownError, StreamFullError, TransientError

_log = structlog.get_logger()

T = TypeVar("T")

BACKOFF_S_MIN = 0.05
BACKOFF_S_MAX = 2.0


async def retry_until_done(
    what: str,
    attempt: Callable[[], Awaitable[T]],
    *,
    backoff: Backoff | None = None,
    report: Callable[[str, OperatingError], None] | None = None,
) -> T:
    """Repeat a read or an idempotent write until it succeeds. `report` takes each failure; by
    default the log does, with an alarm for a full stream. Raises: what `attempt` raises and a
    repetition cannot mend.
    """
    pauses = backoff or Backoff(BACKOFF_S_MIN, BACKOFF_S_MAX)
    while True:
        try:
            return await attempt()
        except (TransientError, OutcomeUnknownError) as error:
            (report or _log_failure)(what, error)
        await asyncio.sleep(pauses.next_s())


def _log_failure(what: str, error: OperatingError) -> None:
    if isinstance(error, StreamFullError):
        _log.error("stream_full", what=what, error=str(error), alarm=True)
    else:
        _log.warning("retrying", what=what, error=str(error))
