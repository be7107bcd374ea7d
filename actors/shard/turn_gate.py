"""The turn gate: the shards of one process take turns together, or a careful one alone.

A careful shard's turn runs alone so that, if the process ends, no other shard can have caused it.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

_log = structlog.get_logger()

OTHERS_S_MAX = 30.0


class TurnGate:
    """The gate of one process."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self._turns = 0
        self._recovering = 0
        self._is_held = False

    def begin_recovery(self) -> None:
        """Count a shard that recovers."""
        self._recovering += 1

    def end_recovery(self) -> None:
        """Count it no longer."""
        self._recovering -= 1
        self._changed.set()

    async def take_turn(self, turn: Callable[[], Awaitable[None]]) -> None:
        """Take a turn beside the others."""
        await self.enter()
        try:
            await turn()
        finally:
            self.leave()

    async def take_turn_alone(self, turn: Callable[[], Awaitable[None]]) -> None:
        """Take a turn while no other shard does anything."""
        await self.enter_alone()
        try:
            await turn()
        finally:
            self.leave_alone()
        # The next turn must not begin before the shards that wait have had theirs.
        await asyncio.sleep(0)

    async def let_others_in(self) -> None:
        """Let the others take their turns in the middle of a long turn alone."""
        self.leave_alone()
        await asyncio.sleep(0)
        await self.enter_alone()

    async def enter(self) -> None:
        """Wait until no careful shard has an input in hand, and begin a turn."""
        while self._is_held:
            await self._wait()
        self._turns += 1

    def leave(self) -> None:
        """End a turn."""
        self._turns -= 1
        if not self._turns:
            self._changed.set()

    async def enter_alone(self) -> None:
        """Wait until no other shard does anything, and keep the others out. A shard that does not
        end its turn is waited for 30 s.
        """
        while self._is_held:
            await self._wait()
        self._is_held = True
        try:
            async with asyncio.timeout(OTHERS_S_MAX):
                while self._turns or self._recovering:
                    await self._wait()
        except TimeoutError:
            _log.warning("not_alone", turns=self._turns, recovering=self._recovering)
        except BaseException:
            self.leave_alone()
            raise

    def leave_alone(self) -> None:
        """Let the others go on."""
        self._is_held = False
        self._changed.set()

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()
