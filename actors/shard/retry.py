"""Retrying what is safe to repeat, until it is done."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from actors.errors import OutcomeUnknownError, StreamFullError, TransientError

_log = structlog.get_logger()

T = TypeVar("T")


BACKOFF_S_MIN = 0.05


BACKOFF_S_MAX = 2.0


async def retry_until_done(what: str, attempt: Callable[[], Awaitable[T]]) -> T:
    """Try a read or an idempotent write until it succeeds, with growing pauses. For what is safe to
    repeat only.
    """
    pause_s = BACKOFF_S_MIN
    while True:
        try:
            return await attempt()
        except StreamFullError as error:
            _log.error("stream_full", what=what, error=str(error), alarm=True)
        except (TransientError, OutcomeUnknownError) as error:
            _log.warning("retrying", what=what, error=str(error))
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, BACKOFF_S_MAX)
