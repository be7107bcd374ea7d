"""Held executions: decided and applied, but in no frame yet.

A frame for executions alone costs as much as any other, and orders wait behind it. So shortly after
a frame, executions are held for the next one. Under load a signal comes soon, and its frame takes
them along. Otherwise a timer sends them.
"""

import asyncio
from typing import Any

from actors.settings import ShardSettings
from actors.shard.frame_budget import FrameBudget
from engine.journal.events.orders import CancelsRequested, OrdersPlaced


class HeldExecutions:
    """The held events of one follower shard, and the time of its last frame."""

    def __init__(self, settings: ShardSettings, arrived: asyncio.Event) -> None:
        self._wait_s = settings.reports_wait_s
        self._bytes_max = settings.frame_bytes_max // 2
        self._arrived = arrived
        self._frame_s = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        self.events: list[Any] = []
        """The events of the next frame so far."""
        self.budget = FrameBudget(self.events, self._bytes_max)
        """The bytes that executions may add to them: half a frame."""
        self.is_backlog = False
        """True while executions are left that could have been taken at once."""

    def begin_frame(self) -> None:
        """Hand the events over to a frame that leaves now."""
        self._frame_s = asyncio.get_running_loop().time()
        self.events = []
        self.budget = FrameBudget(self.events, self._bytes_max)

    def may_wait(self, news: list[Any]) -> bool:
        """Return whether the events wait for the next frame, and start the timer if they do.

        `news` are the events of this turn. Orders and cancels among them do not wait.
        """
        loop = asyncio.get_running_loop()
        wait_s = self._frame_s + self._wait_s - loop.time()
        if wait_s <= 0:
            return False
        if any(isinstance(event, OrdersPlaced | CancelsRequested) for event in news):
            return False
        if self.events and self._timer is None:
            self._timer = loop.call_later(wait_s, self._wake)
        return True

    def _wake(self) -> None:
        self._timer = None
        self._arrived.set()

    def close(self) -> None:
        """Stop the timer: it would keep a dead shard's state in memory beside its successor's."""
        if self._timer is not None:
            self._timer.cancel()
