"""The commands of a follower shard: decided in order, answered with the frame that holds them."""

from collections.abc import Callable
from typing import Any

from actors.follower.command_inbox import CommandInbox, PendingCommands
from actors.follower.order_lookup import OrderLookup
from actors.shard.committer import Output
from actors.shard.core import ShardCore
from actors.shard.frame_budget import FrameBudget
from actors.shard.input_names import command_input
from engine.follower.decide.commands import CommandBatch
from engine.follower.deciding import Deciding
from engine.follower.shard import FollowerShard
from engine.journal.cursors import Source
from engine.messages.answers import Answer
from engine.messages.commands import AccountCommand, name_of

COMMAND_ROW_BYTES = 32
"""The most bytes that ending one subscription writes for each of its instruments."""


class FollowerCommandTaker:
    """The commands of one follower shard. `now` tells the event time."""

    def __init__(
        self,
        core: ShardCore,
        shard: FollowerShard,
        inbox: CommandInbox,
        lookup: OrderLookup,
        now: Callable[[], int],
    ) -> None:
        self._core = core
        self._shard = shard
        self._inbox = inbox
        self._lookup = lookup
        self._now = now
        self._settings = core.settings

    async def take(self, events: list[Any], budget: FrameBudget) -> list[Output]:
        """Decide the commands that are ready. Returns: their answers, which go with the last frame.

        Events that do not fit into one frame are sent in several, split between two commands.
        """
        return [
            await self._decide_message(pending, [], events, budget)
            for pending in self._inbox.take(self._creator_number)
        ]

    async def _decide_message(
        self,
        pending: PendingCommands,
        answers: list[Answer],
        events: list[Any],
        budget: FrameBudget,
    ) -> Output:
        """Decide the commands of one message that are not answered yet."""
        left = pending.commands[len(answers) :]
        for event in self._batch().decide(left):
            if not isinstance(event, Answer):
                self._apply(event, events)
                continue
            answers.append(event)
            if budget.is_full:
                await self._core.commit(events, self._now(), ())
                events.clear()
                budget.begin()
        return _reply(pending, answers)

    def _apply(self, event: Any, events: list[Any]) -> None:
        self._shard.apply_each((event,), events)
        self._lookup.note((event,))

    def _batch(self) -> CommandBatch:
        return CommandBatch(
            Deciding(self._shard.state, self._settings.policy, self._now()),
            creator_shards=self._settings.creator_shards,
            follower_shards=self._settings.follower_shards,
            brokers=frozenset(self._settings.brokers),
            rows_max=self._settings.frame_bytes_max // COMMAND_ROW_BYTES,
        )

    def _creator_number(self, creator_shard: int) -> int:
        """The number of the last frame taken of a creator shard."""
        cursor = self._shard.state.cursors.get((Source.CREATOR_JOURNAL, creator_shard))
        return cursor.number if cursor else 0

    # One command alone.

    async def take_alone(self) -> None:
        """Decide the commands that are ready one by one, for as long as the shard is careful. The
        answers of a message go with its last command.
        """
        for pending in self._inbox.take(self._creator_number):
            answers: list[Answer] = []
            while self._core.careful.is_on and len(answers) < len(pending.commands):
                await self._decide_alone(pending.commands[len(answers)], pending, answers)
                await self._core.gate.let_others_in()
            if len(answers) < len(pending.commands):
                events: list[Any] = []
                budget = FrameBudget(events, self._settings.frame_bytes_max)
                output = await self._decide_message(pending, answers, events, budget)
                await self._core.commit(events, self._now(), [output])

    async def _decide_alone(
        self, command: AccountCommand, pending: PendingCommands, answers: list[Answer]
    ) -> None:
        async def decide(events: list[Any], outputs: list[Output]) -> None:
            for event in self._batch().decide([command]):
                if isinstance(event, Answer):
                    answers.append(event)
                else:
                    self._apply(event, events)
            if len(answers) == len(pending.commands):
                outputs.append(_reply(pending, answers))

        await self._core.alone.decide(
            command_input(name_of(command)), decide, _never_quarantined, self._now
        )

    async def quarantine_poison(self) -> None:
        """Quarantine the poison if it is a command. It may never be sent again, but it must not
        crash the shard if it is.
        """
        poison = self._core.careful.poison
        if poison is None or poison.source:
            return
        events: list[Any] = []
        event = self._core.careful.quarantined("a command that can be decided", poison.subject)
        self._shard.apply_each((event,), events)
        await self._core.alone.settle(events, self._now)


def _reply(pending: PendingCommands, answers: list[Answer]) -> Output:
    return lambda: pending.reply(answers)


def _never_quarantined(events: list[Any]) -> None:
    raise AssertionError("a poison command is quarantined before others are taken")
