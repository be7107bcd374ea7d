"""Python's cyclic garbage collector in a process whose state is large and lives long.

What the engine drops goes by reference counts; cycles are rare (an error and its traceback). But a full pass follows every reference
there is, 0.15 to 0.2 s in a follower host of 500,000 subscriptions, and would come whenever the young have grown by a quarter: now and
then, and whatever is on its way waits. So what stands at the start is not looked at again, the young are collected as ever, and full
passes come by the clock.
"""

import asyncio
import gc

FULL_S_EVERY = 3600.0
NEVER = 1_000_000_000
"""Passes over the middle generation after which the old one would have its turn."""


def collect_rarely() -> None:
    """Set the collector up, once the process has what it starts with."""
    young, middle, _ = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(young, middle, NEVER)


async def collect_for_ever(every_s: float = FULL_S_EVERY) -> None:
    """Make the full passes."""
    while True:
        await asyncio.sleep(every_s)
        gc.collect()
