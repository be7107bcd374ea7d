"""Python's cyclic garbage collector in a process whose state is large and lives long.

What the engine drops goes by reference counts; cycles are rare (an error and its traceback). But a
full pass follows every reference there is, 0.15 to 0.2 s in a follower host of 500,000
subscriptions, and would come whenever the young have grown by a quarter: now and then, and whatever
is on its way waits. So what stands at the start is not looked at again, the young are collected as
ever, and full passes come by the clock, at different times in processes that started together.
"""

import asyncio
import gc
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

FULL_S_EVERY = 3600.0
NEVER = 1_000_000_000
"""Passes over the middle generation after which the old one would have its turn."""


@asynccontextmanager
async def collecting_rarely(full_s_every: float = FULL_S_EVERY) -> AsyncIterator[None]:
    """Have the process's collector set up while its work is done: for the program, not for what may
    run beside others in it.
    """
    young, middle, old = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(young, middle, NEVER)
    collecting = asyncio.create_task(_collect_for_ever(full_s_every), name="garbage")
    try:
        yield
    finally:
        collecting.cancel()
        gc.set_threshold(young, middle, old)
        gc.unfreeze()


async def _collect_for_ever(every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s * random.uniform(0.5, 1.5))
        gc.collect()
