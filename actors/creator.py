"""A creator shard's actor: fills and marks in, signals out.

Reads the ingress stream in its total order, takes what is of its creators, and journals; followers read the
signals from its journal. Commands open creators and are answered once durable (P3).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from actors.committer import Output
from actors.errors import BadInputError
from actors.frame_size import FrameSize
from actors.ports import INGRESS, Feed, Request, StoredMessage
from actors.settings import ShardSettings
from actors.shard import Ports, ShardCore, refused_input
from engine.commands import CreatorOpened
from engine.creator import CreatorShard, FillInput
from engine.frame import NO_ROW, Cursor, ShardKey, ShardKind, Source
from engine.identity import shard_of
from engine.refusals import Refused

BATCH_MESSAGES = 500
BATCH_BYTES = 1 << 20


@dataclass(slots=True)
class _Message:
    """An ingress message being taken: `next` is the first of its fills not yet decided."""

    message: StoredMessage
    fills: list[FillInput]
    next: int


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
        self._message: _Message | None = None
        self._held: StoredMessage | None = None
        self._event_time_ns = 0

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
        """Take commands, then what has come in, until a frame's worth is gathered; send one frame."""
        events: list[Any] = []
        outputs: list[Output] = []
        self._event_time_ns = self.core.event_time_ns()
        commands, self._commands = self._commands[:BATCH_MESSAGES], self._commands[BATCH_MESSAGES:]
        for request in commands:
            outputs.append(self._command(request, events))
        is_dry = self._take_messages(events)
        if not is_dry or self._commands:
            self.core.arrived.set()
        if events or outputs:
            await self.core.commit(events, self._event_time_ns, outputs)
            # Many small messages share a frame while one is on its way; the loop must not run ahead of the others.
            await asyncio.sleep(0)

    def _take_messages(self, events: list[Any]) -> bool:
        """Take messages until a frame's worth is gathered. Returns: whether none is left."""
        size = FrameSize(events, self.core.settings.frame_bytes_max)
        taken = taken_bytes = 0
        while taken < BATCH_MESSAGES and taken_bytes < BATCH_BYTES and not size.is_full:
            if self._message is None:
                message = self._next_message()
                if message is None:
                    return True
                if taken and len(message.data) > BATCH_BYTES // 4:
                    # A large message begins a frame, so that it does not burst one.
                    self._held = message
                    break
                self._message = self._opened(message, events)
            taken += 1
            taken_bytes += len(self._message.message.data)
            self._take(self._message, events, size)
        return False

    def _next_message(self) -> StoredMessage | None:
        assert self._feed is not None
        held, self._held = self._held, None
        return held or next(iter(self._feed.take(1)), None)

    def _apply(self, events: list[Any], event: Any) -> None:
        self.state.apply_event(event)
        events.append(event)

    def _command(self, request: Request, events: list[Any]) -> Output:
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
                self._apply(events, decided)
            answer = wire.answer(command, CreatorOpened(command.creator_id))
        return lambda: request.reply(answer)

    def _opened(self, message: StoredMessage, events: list[Any]) -> "_Message":
        """Read the fills in a message, none where it is not of this shard, and how many of them are taken."""
        if not message.subject.startswith("fills."):
            return _Message(message, [], 0)
        creator_id = message.subject.rpartition(".")[2]
        if shard_of(creator_id, self.core.settings.creator_shards) != self._shard:
            return _Message(message, [], 0)
        try:
            fills = self.core.ports.wire.fills(message.subject, message.data, message.sequence)
        except BadInputError as error:
            self._refuse(message, events, error.reason, str(error), message.data)
            return _Message(message, [], 0)
        cursor = self.state.cursors.get((Source.INGRESS, 0))
        is_resumed = cursor is not None and cursor.row != NO_ROW
        return _Message(message, fills, cursor.position if cursor is not None and is_resumed else 0)

    def _take(self, taking: "_Message", events: list[Any], size: FrameSize) -> None:
        """Decide one ingress message, or as many of its fills as a frame holds, and move the cursor."""
        message = taking.message
        if not message.subject.startswith("fills."):
            self._take_marks(message, events)
        while taking.next < len(taking.fills) and not size.is_full:
            self._take_fill(message, taking.fills[taking.next], events)
            taking.next += 1
        cursor = Cursor(Source.INGRESS, 0, message.sequence, message.sequence)
        if taking.next < len(taking.fills):
            before = message.sequence - 1
            cursor = Cursor(Source.INGRESS, 0, before, before, position=taking.next, row=0)
        else:
            self._message = None
        self.state.cursors[Source.INGRESS, 0] = cursor

    def _take_fill(self, message: StoredMessage, fill: FillInput, events: list[Any]) -> None:
        self._advance_time(fill.transact_time)
        self._list([fill.symbol], events)
        decided = self.state.decide_fill(fill, self._event_time_ns)
        if isinstance(decided, Refused):
            self._refuse(message, events, decided.reason, decided.text, fill.exec_id)
        elif decided is None:
            self.core.count("fills_repeated")
        else:
            self._apply(events, decided)

    def _take_marks(self, message: StoredMessage, events: list[Any]) -> None:
        try:
            marks = self.core.ports.wire.marks(message.subject, message.data)
        except BadInputError as error:
            # Every creator shard reads the marks; one says that they are bad.
            if self._shard == 0:
                self._refuse(message, events, error.reason, str(error), message.data)
            return
        if marks:
            self._advance_time(max(mark.time for mark in marks))
            self._list([mark.symbol for mark in marks], events)
            decided = self.state.decide_marks(marks)
            if decided is not None:
                self._apply(events, decided)

    def _advance_time(self, input_ns: int) -> None:
        self._event_time_ns = max(self._event_time_ns, self.core.event_time_ns(input_ns))

    def _list(self, symbols: Sequence[str], events: list[Any]) -> None:
        listed = self.state.decide_list(list(symbols))
        if listed is not None:
            self._apply(events, listed)

    def _refuse(
        self, message: StoredMessage, events: list[Any], reason: str, text: str, data: bytes | str
    ) -> None:
        self.core.count("inputs_refused")
        self._apply(events, refused_input(message.sequence, message.subject, reason, text, data))
