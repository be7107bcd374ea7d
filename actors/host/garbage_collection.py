"""Python's cyclic garbage collector in a process whose state is large and lives long.

Reference counts free what the engine drops; cycles are rare (an error and its traceback). But a
full pass follows every reference. In a follower host of 500,000 subscriptions that takes 0.15 to
0.2 s, during which everything waits. Python would start one whenever young objects have grown by a
quarter. So objects that exist at the start are never looked at again, and young ones are collected
as usual. Full passes come by the clock, at different times in processes that started together.
"""

import asyncio
import gc
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

FULL_S_EVERY = 3600.0
NEVER = 1_000_000_000
"""The passes over the middle generation after which a full pass would follow."""


@asynccontextmanager
async def collecting_rarely(full_s_every: float = FULL_S_EVERY) -> AsyncIterator[None]:
    """Set up the process's collector for the length of a block. For a whole program only: it
    changes the collector for everything in the process.
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
