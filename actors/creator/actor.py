"""A creator shard's actor: fills and marks in, signals out.

Reads the ingress stream in its total order, takes what is of its creators, and journals; followers
read the signals from its journal. Commands open and resume creators and are answered once durable
(P3). After crashes it takes one input at a time (`actors.shard.careful`); a fill that is
quarantined suspends its creator.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from actors.errors import BadInputError
from actors.ports import INGRESS, Feed, Ports, Request, StoredMessage
from actors.settings import ShardSettings
from actors.shard.careful import read_message
from actors.shard.committer import Output
from actors.shard.core import ShardCore
from actors.shard.dead_letters import excerpt_of, refused_input
from actors.shard.frame_budget import FrameBudget
from actors.shard.inputs import command_input, command_name, message_input
from engine.creator.shard import CreatorShard
from engine.journal.cursors import NO_ROW, Cursor, Source
from engine.journal.frame import ShardKey, ShardKind
from engine.journal.quarantine import WHOLE
from engine.messages.answers import POISON_TEXT, CreatorOpened, EntriesAllowed
from engine.messages.commands import OpenCreator, ResumeCreator
from engine.messages.inputs import FillInput
from engine.values.ids import shard_of
from engine.values.refusals import Refused

BATCH_MESSAGES = 500
BATCH_BYTES = 1 << 20
INBOX_BYTES_MAX = 64 << 20
FILL_BYTES = 512
MARK_BYTES = 8
"""What a fill that is decided again, or refused, writes beside its creator's marks, and what for
each of them.
"""


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
        self.core = ShardCore(
            ShardKey(ShardKind.CREATOR, shard), incarnation, ports, settings, self.state
        )
        self.core.counted = lambda: {
            "creators": len(self.state.creators),
            "signals": self.state.next_signal - 1,
            "suspended_creators": self.state.suspensions.count,
            "inputs_parked": self.state.quarantine.count,
        }
        self._shard = shard
        self._feed: Feed | None = None
        self._commands: deque[Request] = deque()
        self._commands_bytes = 0
        self._message: _Message | None = None
        self._held: StoredMessage | None = None
        self._event_time_ns = 0

    async def start(self) -> None:
        """Recover, then open the ingress feed after the last message taken."""
        await self.core.recover()
        cursor = self.state.cursors.get((Source.INGRESS, 0))
        after = cursor.sequence if cursor else 0
        self._feed = await self.core.open_feed(
            INGRESS, ">", after_sequence=after, seen_sequence=after
        )
        await self.core.subscribe("commands.creator.*", self._receive)

    async def close(self) -> None:
        """Close the feed."""
        if self._feed is not None:
            await self._feed.close()

    def _receive(self, request: Request) -> None:
        if (
            shard_of(request.subject.rpartition(".")[2], self.core.settings.creator_shards)
            != self._shard
        ):
            return
        size = self._commands_bytes + len(request.data)
        if len(self._commands) >= self.core.settings.inbox_commands_max or size > INBOX_BYTES_MAX:
            busy = self.core.ports.wire.refusal(
                "busy", "expected room for the command, found the inbox full; try again"
            )
            self.core.answer_soon(request, busy)
            return
        self._commands.append(request)
        self._commands_bytes = size
        self.core.arrived.set()

    def _next_command(self) -> Request:
        request = self._commands.popleft()
        self._commands_bytes -= len(request.data)
        return request

    async def turn(self) -> None:
        """Take commands, then what has come in, until a frame's worth is gathered; send one
        frame.
        """
        if self.core.careful.is_on:
            await self._turn_carefully()
            return
        events: list[Any] = []
        outputs: list[Output] = []
        size = FrameBudget(events, self.core.settings.frame_bytes_max)
        self._event_time_ns = self.core.event_time_ns()
        while self._commands and len(outputs) < BATCH_MESSAGES and not size.is_full:
            outputs.append(await self._command(self._next_command(), events))
        is_dry = self._take_messages(events, size)
        if not is_dry or self._commands:
            self.core.arrived.set()
        if events or outputs:
            await self.core.commit(events, self._event_time_ns, outputs)
            # Many small messages share a frame while one is on its way; the loop must not run ahead
            # of the others.
            await asyncio.sleep(0)

    async def _turn_carefully(self) -> None:
        """Take one command and one message, or one of its fills, each alone."""
        self._event_time_ns = self.core.event_time_ns()
        poison = self.core.careful.poison
        if poison is not None and not poison.source:
            # Nobody may ever send it again, but whoever does must not crash the shard.
            await self._command_alone(None, poison.subject)
        if self._commands:
            request = self._next_command()
            await self._command_alone(request, command_name(request.subject, request.data))
        if self._message is None:
            message = self._next_message()
            if message is not None and self._is_of_this_shard(message):
                await self._message_alone(message)
            elif message is not None:
                self._pass(_Message(message, [], 0))
                self.core.arrived.set()
        else:
            await self._fill_alone(self._message)

    def _take_messages(self, events: list[Any], size: FrameBudget) -> bool:
        """Take messages until a frame's worth is gathered. Returns: whether none is left."""
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

    # Commands.

    async def _command(self, request: Request, events: list[Any]) -> Output:
        wire, quarantine = self.core.ports.wire, self.state.quarantine
        try:
            if quarantine.commands and quarantine.holds(
                command_name(request.subject, request.data)
            ):
                raise BadInputError("poison", POISON_TEXT)
            command = wire.creator_command(request.subject, request.data)
            if isinstance(command, ResumeCreator):
                return await self._resume(request, command, events)
            if command.broker not in self.core.settings.brokers:
                known = ", ".join(self.core.settings.brokers)
                raise BadInputError(
                    "unknown_broker", f"broker: expected one of {known}, found {command.broker!r}"
                )
        except BadInputError as error:
            refusal = wire.refusal(error.reason, str(error))
            return lambda: request.reply(refusal)
        return self._open(request, command, events)

    def _open(self, request: Request, command: OpenCreator, events: list[Any]) -> Output:
        wire = self.core.ports.wire
        decided = self.state.decide_open(
            command.creator_id, command.broker, command.cash, command.command_id
        )
        if isinstance(decided, Refused):
            answer = wire.answer(command, decided)
        else:
            if not isinstance(decided, int):
                self._apply(events, decided)
            answer = wire.answer(command, CreatorOpened(command.creator_id))
        return lambda: request.reply(answer)

    async def _resume(self, request: Request, command: ResumeCreator, events: list[Any]) -> Output:
        """Settle a creator's quarantined fills: with what follows from them it is one frame, or, if
        they crash the shard again, none. Raises: BadInputError when they cannot be read again.
        """
        decided = self.state.decide_resume(
            command.creator_id, command.command_id, is_replay=command.is_replay
        )
        if isinstance(decided, Refused):
            raise BadInputError(decided.reason, decided.text)
        if isinstance(decided, int):
            count = decided
        else:
            count = len(decided.sequences)
            quarantined = zip(decided.sequences.tolist(), decided.positions.tolist(), strict=True)
            messages = await self._read_again(
                command.creator_id, list(quarantined) if command.is_replay else []
            )
            self._apply(events, decided)
            for message, fills in messages:
                for fill in fills:
                    self._take_fill(message, fill, events)
        answer = self.core.ports.wire.answer(command, EntriesAllowed(command.creator_id, count))
        return lambda: request.reply(answer)

    async def _read_again(
        self, creator_id: str, quarantined: list[tuple[int, int]]
    ) -> list[tuple[StoredMessage, list[FillInput]]]:
        found: list[tuple[StoredMessage, list[FillInput]]] = []
        # The state may be between two frames here while others run: nobody may take it for the last
        # frame's.
        self.core.is_deciding = True
        try:
            for sequence, position in quarantined:
                message = await read_message(self.core.ports.streams, INGRESS, sequence)
                if message is None:
                    text = (
                        f"parked fill: expected message {sequence} in "
                        f"{INGRESS}, found none; try again, or void it"
                    )
                    raise BadInputError("missing", text)
                fills = self.core.ports.wire.fills(message.subject, message.data, sequence)
                found.append(
                    (message, fills if position == WHOLE else fills[position : position + 1])
                )
        finally:
            self.core.is_deciding = False
        symbols = [fill.symbol for _, fills in found for fill in fills]
        marks = self.state.traded_count(creator_id, symbols)
        fills_max = self.core.settings.frame_bytes_max // (FILL_BYTES + MARK_BYTES * marks)
        if len(symbols) > fills_max:
            text = (
                f"parked fills: expected at most {fills_max} with "
                f"{marks} marks each, found {len(symbols)}"
            )
            raise BadInputError("size", f"{text}; void them and publish them again in parts")
        return found

    # Messages.

    def _is_of_this_shard(self, message: StoredMessage) -> bool:
        """Say whether a message is one of marks, which are every shard's, or of fills of a creator
        here.
        """
        if not message.subject.startswith("fills."):
            return True
        creator_id = message.subject.rpartition(".")[2]
        return shard_of(creator_id, self.core.settings.creator_shards) == self._shard

    def _opened(self, message: StoredMessage, events: list[Any]) -> "_Message":
        """Read the fills in a message, none where it is not of this shard, and how many of them are
        taken.
        """
        if not message.subject.startswith("fills.") or not self._is_of_this_shard(message):
            return _Message(message, [], 0)
        try:
            fills = self.core.ports.wire.fills(message.subject, message.data, message.sequence)
        except BadInputError as error:
            self._refuse(message, events, error.reason, str(error), message.data)
            return _Message(message, [], 0)
        cursor = self.state.cursors.get((Source.INGRESS, 0))
        is_resumed = cursor is not None and cursor.row != NO_ROW
        return _Message(message, fills, cursor.position if cursor is not None and is_resumed else 0)

    def _take(self, taking: "_Message", events: list[Any], size: FrameBudget) -> None:
        """Decide one ingress message, or as many of its fills as a frame holds, and move the
        cursor.
        """
        message = taking.message
        if not message.subject.startswith("fills."):
            self._take_marks(message, events)
        while taking.next < len(taking.fills) and not size.is_full:
            self._take_fill(message, taking.fills[taking.next], events)
            taking.next += 1
        self._pass(taking)

    def _pass(self, taking: "_Message") -> None:
        """Move the cursor past what is taken of a message."""
        message = taking.message
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
            decided = self.state.decide_marks(marks, self._event_time_ns)
            if isinstance(decided, Refused):
                if self._shard == 0:
                    self._refuse(message, events, decided.reason, decided.text, message.data)
            elif decided is not None:
                self._apply(events, decided)

    def _advance_time(self, input_ns: int) -> None:
        self._event_time_ns = max(self._event_time_ns, self.core.event_time_ns(input_ns))

    def _list(self, symbols: Sequence[str], events: list[Any]) -> None:
        listed = self.state.decide_list(list(symbols))
        if listed is not None:
            self._apply(events, listed)

    # One input alone.

    async def _command_alone(self, request: Request | None, name: str) -> None:
        async def decide(events: list[Any], outputs: list[Output]) -> None:
            if request is not None:
                outputs.append(await self._command(request, events))

        def quarantine(events: list[Any]) -> None:
            self._apply(
                events, self.core.careful.quarantined("a command that can be decided", name)
            )

        await self.core.decide_alone(
            command_input(name), decide, quarantine, lambda: self._event_time_ns
        )

    async def _message_alone(self, message: StoredMessage) -> None:
        """Read a message, and take it, unless it holds several fills: these are taken each by
        itself.
        """
        tried, events = message_input(Source.INGRESS, message, WHOLE), list[Any]()

        async def take() -> None:
            taking = self._opened(message, events)
            if len(taking.fills) > 1:
                # No frame: it would say that there was progress, whenever the message is read again
                # for one of its fills.
                self._message = taking
                return
            self._take(taking, events, FrameBudget(events, self.core.settings.frame_bytes_max))
            await self.core.commit(events, self._event_time_ns, ())

        if tried != self.core.careful.poison:
            await self.core.try_alone(tried, take, lambda: self._event_time_ns)
            if self._message is not None:
                await self._fill_alone(self._message)
            return
        self._park(message, WHOLE, excerpt_of(message.data), events)
        self._pass(_Message(message, [], 0))
        await self.core.commit(events, self._event_time_ns, ())
        await self.core.committer.settle()

    async def _fill_alone(self, taking: "_Message") -> None:
        message, position = taking.message, taking.next

        async def decide(events: list[Any], outputs: list[Output]) -> None:
            self._take_fill(message, taking.fills[position], events)
            taking.next += 1
            self._pass(taking)

        def quarantine(events: list[Any]) -> None:
            self._park(message, position, taking.fills[position].exec_id, events)
            taking.next += 1
            self._pass(taking)

        tried = message_input(Source.INGRESS, message, position)
        await self.core.decide_alone(tried, decide, quarantine, lambda: self._event_time_ns)

    def _park(self, message: StoredMessage, position: int, excerpt: str, events: list[Any]) -> None:
        """Give a message or one of its fills up, and suspend the creator whose portfolio it would
        have changed.
        """
        self._apply(events, self.core.careful.quarantined("an input that can be decided", excerpt))
        kind, broker, creator_id = (*message.subject.split("."), "", "")[:3]
        if kind == "fills":
            suspended = self.state.decide_suspend(creator_id, broker, message.sequence, position)
            if suspended is not None:
                self._apply(events, suspended)

    def _refuse(
        self, message: StoredMessage, events: list[Any], reason: str, text: str, data: bytes | str
    ) -> None:
        self.core.count("inputs_refused")
        self._apply(events, refused_input(message.sequence, message.subject, reason, text, data))
