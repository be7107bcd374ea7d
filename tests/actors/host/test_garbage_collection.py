"""A process with a large state makes no full pass of the garbage collector but those that the clock
asks for.
"""

import subprocess
import sys

GROWING = """
import asyncio, gc
from actors.host.garbage_collection import collecting_rarely

def full_passes(): return gc.get_stats()[2]["collections"]

async def main():
    async with collecting_rarely():
        before, kept = full_passes(), []
        for _ in range(300_000):
            kept.append([])
        middle = gc.get_stats()[1]["collections"]
        print(gc.get_freeze_count() > 0, full_passes() - before, middle > 20)
    print(gc.get_freeze_count())

asyncio.run(main())
"""

CYCLE = """
import asyncio, gc, weakref
from actors.host.garbage_collection import collecting_rarely

class Node: pass

async def main():
    async with collecting_rarely(0.01):
        node = Node()
        node.itself = node
        gone = asyncio.Event()
        alive = weakref.ref(node, lambda _: gone.set())
        del node
        async with asyncio.timeout(30):
            await gone.wait()
        print(alive() is None)

asyncio.run(main())
"""


def printed(program: str) -> list[str]:
    """Run a program in a process of its own, whose collector may be set up."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_a_growing_state_causes_no_full_collections() -> None:
    assert printed(GROWING) == ["True", "0", "True", "0"]


def test_a_cycle_that_outlives_the_young_generation_is_freed_on_the_clock() -> None:
    assert printed(CYCLE) == ["True"]
