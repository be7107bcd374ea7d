"""Requests and messages of a replay, repeated under one id until each is answered, for a bounded
time.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from actors.backoff import Backoff
from actors.errors import OperatingError
from actors.retry import retry_until_done
from cluster.replay.errors import ReplayError

PAUSE_S_MAX = 1.0
T = TypeVar("T")


async def ask_within(
    seconds_max: float,
    what: str,
    ask: Callable[[], Awaitable[T]],
    *,
    expected: str,
    pause_s_min: float,
) -> T:
    """Repeat a request until it is answered. Raises: ReplayError when no answer came in time."""
    failure = "no answer"

    def note(_: str, error: OperatingError) -> None:
        nonlocal failure
        failure = str(error)

    backoff = Backoff(pause_s_min, PAUSE_S_MAX)
    try:
        async with asyncio.timeout(seconds_max):
            return await retry_until_done(what, ask, backoff=backoff, report=note)
    except TimeoutError:
        raise ReplayError(
            f"{what}: expected {expected} within {seconds_max:g} s, found: {failure}"
        ) from None
