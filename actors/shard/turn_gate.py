"""The turn gate: shards of one process take turns together, or a careful one alone."""

import asyncio

import structlog

_log = structlog.get_logger()

NEIGHBOURS_S_MAX = 30.0


class TurnGate:
    """The shards of one process: any number take turns, or a careful one alone, so that what ends
    the process is no other's doing.
    """

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
        """Wait until no other shard does anything, and keep it so; but not for ever for one that
        does not end its turn.
        """
        while self._is_held:
            await self._wait()
        self._is_held = True
        try:
            async with asyncio.timeout(NEIGHBOURS_S_MAX):
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
