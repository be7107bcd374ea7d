"""The inbox of a follower shard's commands: bounded, in order.

A subscription counts from one past the creator journal's tail, read after the command arrived (P2).
So the inbox first reads the tails of the creator shards that a batch of commands names. The batch
is ready when the shard's own cursors have reached them. Commands that arrive meanwhile are the next
batch.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

from actors.journal.reading import newest_frame
from actors.ports import Journal
from actors.retry import retry_until_done
from engine.journal.frame import ShardKey, ShardKind, decode_header
from engine.messages.answers import Answer
from engine.messages.commands import COMMANDS, AccountCommand, SubscriptionCommand
from engine.values.ids import shards_of

BATCH_COMMANDS = 20_000


class PendingCommands(NamedTuple):
    """The commands of one message. `reply` takes their answers, in order."""

    commands: list[AccountCommand]
    reply: Callable[[list[Answer]], Awaitable[None]]


class CommandInbox:
    """The inbox of one follower shard."""

    def __init__(
        self, journal: Journal, *, creator_shards: int, commands_max: int, arrived: asyncio.Event
    ) -> None:
        self._journal = journal
        self._creator_shards = creator_shards
        self._commands_max = commands_max
        self._arrived = arrived
        self._waiting: list[PendingCommands] = []
        self._ready: list[PendingCommands] = []
        self._needs: dict[int, int] = {}
        self._reading: asyncio.Task[None] | None = None
        self.count = 0

    def put(self, pending: PendingCommands) -> bool:
        """Put a message's commands in. Returns: False, without taking any, when there is no
        room.
        """
        if self.count and self.count + len(pending.commands) > self._commands_max:
            return False
        self.count += len(pending.commands)
        self._waiting.append(pending)
        self._arrived.set()
        return True

    def take(self, cursor_of: Callable[[int], int]) -> list[PendingCommands]:
        """Take the batch if its creator shards are read far enough. `cursor_of` returns the number
        of the last frame taken of each. Raises: the error that ended the reading of a tail.
        """
        if not self._ready:
            self._read_tails()
        if self._reading is not None and self._reading.done():
            # The reading failed: no command that waits here would ever be decided.
            self._reading.result()
        if not self._ready or self._reading is not None:
            return []
        if any(cursor_of(creator_shard) < number for creator_shard, number in self._needs.items()):
            return []
        ready, self._ready, self._needs = self._ready, [], {}
        self.count -= sum(len(pending.commands) for pending in ready)
        self._read_tails()
        return ready

    def _read_tails(self) -> None:
        if self._reading is not None or self._ready or not self._waiting:
            return
        taken, commands = 0, 0
        while taken < len(self._waiting) and (
            not taken or commands + len(self._waiting[taken].commands) <= BATCH_COMMANDS
        ):
            commands += len(self._waiting[taken].commands)
            taken += 1
        self._ready, self._waiting = self._waiting[:taken], self._waiting[taken:]
        creators = [
            command.creator_id
            for pending in self._ready
            for command in pending.commands
            if isinstance(command, SubscriptionCommand)
            and COMMANDS[type(command)].counts_from_frame
        ]
        shards = set(shards_of(creators, self._creator_shards))
        if shards:
            self._reading = asyncio.create_task(
                self._tails(sorted(shards)), name="creator journal tails"
            )

    async def _tails(self, shards: list[int]) -> None:
        for creator_shard in shards:
            key = ShardKey(ShardKind.CREATOR, creator_shard)
            newest = partial(newest_frame, self._journal, key)
            tail = await retry_until_done(f"tail of {key}", newest)
            if tail is not None:
                self._needs[creator_shard] = decode_header(tail.data)[0].number
        self._reading = None
        self._arrived.set()

    async def close(self) -> None:
        """Stop reading tails. Commands that wait get no answer."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
