"""Waiting for something, but not for ever."""

import asyncio

from actors.deadline import came_within


async def test_what_comes_in_time_came() -> None:
    happened = asyncio.Event()
    happened.set()
    assert await came_within(happened.wait(), 60.0)


async def test_what_does_not_come_in_time_is_cancelled() -> None:
    task = asyncio.create_task(asyncio.Event().wait())
    assert not await came_within(task, 0.0)
    assert task.cancelled()
