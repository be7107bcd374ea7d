"""A process with a large state makes no full pass of the garbage collector but those that the clock asks for."""

import subprocess
import sys

GROWING = """
import gc
from actors.garbage import collect_rarely

def full_passes(): return gc.get_stats()[2]["collections"]

collect_rarely()
before, kept = full_passes(), []
for _ in range(300_000):
    kept.append([])
print(gc.get_freeze_count() > 0, full_passes() - before, gc.get_stats()[1]["collections"] > 20)
"""

CYCLE = """
import asyncio, gc, weakref
from actors.garbage import collect_for_ever, collect_rarely

class Node: pass

async def main():
    collect_rarely()
    node = Node()
    node.itself = node
    gone = asyncio.Event()
    alive = weakref.ref(node, lambda _: gone.set())
    del node
    collecting = asyncio.create_task(collect_for_ever(0.01))
    async with asyncio.timeout(30):
        await gone.wait()
    collecting.cancel()
    print(alive() is None)

asyncio.run(main())
"""


def printed(program: str) -> list[str]:
    """Run a program in a process of its own, whose collector may be set up."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_a_growing_state_is_not_passed_over_again_and_again() -> None:
    assert printed(GROWING) == ["True", "0", "True"]


def test_a_cycle_that_outlives_the_young_is_freed_by_the_clock() -> None:
    assert printed(CYCLE) == ["True"]
