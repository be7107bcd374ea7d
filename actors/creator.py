"""A creator shard's actor: fills and marks in, signals out.

Reads the ingress stream in its total order, takes what is of its creators, and journals; followers read the
signals from its journal. Commands open creators and are answered once durable (P3).
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from actors.committer import Output
from actors.errors import BadInputError
from actors.ports import INGRESS, Feed, Request, StoredMessage
from actors.settings import ShardSettings
from actors.shard import Ports, ShardCore, refused_input
from engine.commands import CreatorOpened
from engine.creator import CreatorShard, Refused
from engine.frame import Cursor, ShardKey, ShardKind, Source
from engine.identity import shard_of

BATCH_MESSAGES = 500
BATCH_BYTES = 1 << 20


class CreatorShardActor:
    """One creator shard."""

    def __init__(self, shard: int, incarnation: str, ports: Ports, settings: ShardSettings) -> None:
        self.state = CreatorShard(settings.instruments, settings.default_instrument)
        self.core = ShardCore(ShardKey(ShardKind.CREATOR, shard), incarnation, ports, settings, self.state)
        self.core.counted = lambda: {
            "creators": len(self.state.creators),
            "signals": self.state.next_signal - 1,
        }
        self._shard = shard
        self._feed: Feed | None = None
        self._commands: list[Request] = []

    async def start(self) -> None:
        """Recover, then open the ingress feed after the last message taken."""
        await self.core.recover()
        cursor = self.state.cursors.get((Source.INGRESS, 0))
        after = cursor.sequence if cursor else 0
        self._feed = await self.core.open_feed(INGRESS, ">", after_sequence=after, seen_sequence=after)
        await self.core.subscribe("commands.creator.*", self._receive)

    async def close(self) -> None:
        """Close the feed."""
        if self._feed is not None:
            await self._feed.close()

    def _receive(self, request: Request) -> None:
        if shard_of(request.subject.rpartition(".")[2], self.core.settings.creator_shards) != self._shard:
            return
        if len(self._commands) >= self.core.settings.inbox_commands_max:
            busy = self.core.ports.wire.refusal(
                "busy", "expected room for the command, found the inbox full; try again"
            )
            self.core.answer_soon(request, busy)
            return
        self._commands.append(request)
        self.core.arrived.set()

    async def turn(self) -> None:
        """Take commands, then what has come in; send one frame."""
        assert self._feed is not None
        messages = self._batch(self._feed)
        commands, self._commands = self._commands, []
        if not messages and not commands:
            return
        self.core.arrived.set()
        events: list[Any] = []
        outputs: list[Output] = []
        event_time_ns = self.core.event_time_ns()
        for request in commands:
            outputs.append(self._command(request, events, event_time_ns))
        for message in messages:
            event_time_ns = self._take(message, events, event_time_ns)
        if events or outputs:
            await self.core.commit(events, event_time_ns, outputs)
            # Many small messages share a frame while one is on its way; the loop must not run ahead of the others.
            await asyncio.sleep(0)

    @staticmethod
    def _batch(feed: Feed) -> list[StoredMessage]:
        """Take a frame's worth of messages: a message may be large, and a frame must stay small."""
        messages: list[StoredMessage] = []
        taken_bytes = 0
        while len(messages) < BATCH_MESSAGES and taken_bytes < BATCH_BYTES:
            more = feed.take(1)
            if not more:
                break
            messages += more
            taken_bytes += len(more[0].data)
        return messages

    def _apply(self, events: list[Any], event: Any, event_time_ns: int) -> None:
        self.state.apply_event(event, event_time_ns)
        events.append(event)

    def _command(self, request: Request, events: list[Any], event_time_ns: int) -> Output:
        wire = self.core.ports.wire
        try:
            command = wire.creator_command(request.subject, request.data)
            if command.broker not in self.core.settings.brokers:
                known = ", ".join(self.core.settings.brokers)
                raise BadInputError(
                    "unknown_broker", f"broker: expected one of {known}, found {command.broker!r}"
                )
        except BadInputError as error:
            refusal = wire.refusal(error.reason, str(error))
            return lambda: request.reply(refusal)
        decided = self.state.decide_open(command.creator_id, command.broker, command.cash, command.command_id)
        if isinstance(decided, Refused):
            answer = wire.answer(command, decided)
        else:
            if not isinstance(decided, int):
                self._apply(events, decided, event_time_ns)
            answer = wire.answer(command, CreatorOpened(command.creator_id))
        return lambda: request.reply(answer)

    def _take(self, message: StoredMessage, events: list[Any], event_time_ns: int) -> int:
        """Decide one ingress message. Returns: the event time after it."""
        if message.subject.startswith("fills."):
            creator_id = message.subject.rpartition(".")[2]
            if shard_of(creator_id, self.core.settings.creator_shards) == self._shard:
                event_time_ns = self._take_fills(message, events, event_time_ns)
        else:
            event_time_ns = self._take_marks(message, events, event_time_ns)
        self.state.cursors[Source.INGRESS, 0] = Cursor(Source.INGRESS, 0, message.sequence, message.sequence)
        return event_time_ns

    def _take_fills(self, message: StoredMessage, events: list[Any], event_time_ns: int) -> int:
        try:
            fills = self.core.ports.wire.fills(message.subject, message.data, message.sequence)
        except BadInputError as error:
            self._refuse(message, events, error.reason, str(error), message.data)
            return event_time_ns
        for fill in fills:
            event_time_ns = max(event_time_ns, self._event_time(fill.transact_time))
            self._list([fill.symbol], events, event_time_ns)
            decided = self.state.decide_fill(fill, event_time_ns)
            if isinstance(decided, Refused):
                self._refuse(message, events, decided.reason, decided.text, fill.exec_id)
            elif decided is None:
                self.core.count("fills_repeated")
            else:
                self._apply(events, decided, event_time_ns)
        return event_time_ns

    def _take_marks(self, message: StoredMessage, events: list[Any], event_time_ns: int) -> int:
        try:
            marks = self.core.ports.wire.marks(message.subject, message.data)
        except BadInputError as error:
            # Every creator shard reads the marks; one says that they are bad.
            if self._shard == 0:
                self._refuse(message, events, error.reason, str(error), message.data)
            return event_time_ns
        if marks:
            event_time_ns = max(event_time_ns, self._event_time(max(mark.time for mark in marks)))
            self._list([mark.symbol for mark in marks], events, event_time_ns)
            decided = self.state.decide_marks(marks)
            if decided is not None:
                self._apply(events, decided, event_time_ns)
        return event_time_ns

    def _event_time(self, input_ns: int) -> int:
        return self.core.event_time_ns(input_ns)

    def _list(self, symbols: Sequence[str], events: list[Any], event_time_ns: int) -> None:
        listed = self.state.decide_list(list(symbols))
        if listed is not None:
            self._apply(events, listed, event_time_ns)

    def _refuse(
        self, message: StoredMessage, events: list[Any], reason: str, text: str, data: bytes | str
    ) -> None:
        self.core.count("inputs_refused")
        self._apply(events, refused_input(message.sequence, message.subject, reason, text, data), 0)
