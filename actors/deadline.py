"""Waiting for something, but not for ever."""

import asyncio
from collections.abc import Awaitable


async def came_within(waiting: Awaitable[object], seconds: float) -> bool:
    """Wait for something, and cancel it when the time is over. Returns: whether it came."""
    try:
        async with asyncio.timeout(seconds):
            await waiting
    except TimeoutError:
        return False
    return True
