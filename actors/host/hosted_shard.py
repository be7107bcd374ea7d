"""One shard in its host: it runs its actor, and after a crash a new one under a new owner's name.

    RUNNING --crash--> (pause) --> RUNNING --stopped, lost, failed, or crashed too often--> OVER

The other shards of the host go on meanwhile.
"""

import asyncio
import gc
from collections.abc import Callable

from actors.backoff import Backoff
from actors.deadline import came_within
from actors.shard.core import ShardActor
from actors.shard.recovery import Phase

AGAIN_S_MIN = 0.05
AGAIN_S_MAX = 2.0
WELL_S = 10.0
"""A shard that ran this long is not on its way from one crash to the next."""
CRASHES_MAX = 10
"""After this many crashes in a row the process may be the cause: the host ends, and its successor
begins in another process.
"""


class HostedShard:
    """A shard that a host runs until it is told to stop, or until the shard cannot go on."""

    def __init__(self, name: str, make: Callable[[], ShardActor]) -> None:
        """`make` makes an actor under a name that no owner of the shard had before."""
        self.actor = make()
        self.is_leaving = False
        self._name = name
        self._make = make
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self, ended: Callable[[], None]) -> None:
        """Run from now on; `ended` is called when the shard is over."""
        self._task = asyncio.create_task(self._run(), name=self._name)
        self._task.add_done_callback(lambda task: ended())

    @property
    def is_over(self) -> bool:
        """True once the shard runs no more and will not run again here."""
        return self._task is not None and self._task.done()

    @property
    def is_given_up(self) -> bool:
        """True if the shard is over and the successor of its host must take it up again."""
        return self.is_over and self.actor.core.phase in (Phase.CRASHED, Phase.LOST)

    def stop(self) -> None:
        """Ask the shard to end once all that it decided is durable."""
        self._stopping.set()
        self.actor.core.stop()

    def leave(self) -> None:
        """Ask the shard to end because another host will run it; this host goes on without it."""
        self.is_leaving = True
        self.stop()

    async def wait_over(self) -> Phase:
        """Wait until the shard is over. Returns: the phase it ended in."""
        if self._task is not None:
            await asyncio.wait([self._task])
        return self.actor.core.phase

    async def cancel(self) -> None:
        """Break the shard off where it stands."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        loop, backoff, crashes = asyncio.get_running_loop(), Backoff(AGAIN_S_MIN, AGAIN_S_MAX), 0
        while True:
            actor, began_s = self.actor, loop.time()
            await actor.core.run()
            if loop.time() - began_s > WELL_S:
                backoff.reset()
                crashes = 0
            crashes += 1
            if actor.core.phase is not Phase.CRASHED or crashes == CRASHES_MAX:
                return
            if await came_within(self._stopping.wait(), backoff.next_s()):
                return
            self.actor = self._make()
            del actor
            # The dead actor refers to itself, and full passes are rare
            # (`actors.host.garbage_collection`): its state would stay beside its successor's.
            gc.collect()
