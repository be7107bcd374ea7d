"""The ingress of a creator shard: fills and marks, read in the stream's order.

A message may hold more fills than one frame. It is then taken over several frames, and the cursor
says how many of its fills are decided.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from actors.errors import BadInputError
from actors.ports import INGRESS, Feed, StoredMessage
from actors.shard.committer import Output
from actors.shard.core import ShardCore
from actors.shard.dead_letters import excerpt_of, refused_input
from actors.shard.event_time import TurnTime
from actors.shard.frame_budget import FrameBudget
from actors.shard.input_names import message_input
from actors.shard.inputs import StreamPlace
from actors.shard.message_reading import MessageReading
from engine.creator.marks import check_source
from engine.creator.shard import CreatorShard
from engine.journal.cursors import Source, parts_decided
from engine.journal.quarantine import WHOLE
from engine.messages.inputs import FillInput, MarkInput
from engine.values.ids import shard_of
from engine.values.refusals import Refused

BATCH_MESSAGES = 500
BATCH_BYTES = 1 << 20
BATCH_FILLS = 2_000
"""A fill takes some 25 us, and everything else in the process waits for the turn."""


@dataclass(slots=True)
class _IngressMessage:
    """An ingress message being taken; `next` is the first of its fills that is not yet decided. It
    has fills or marks.
    """

    message: StoredMessage
    fills: list[FillInput]
    next: int
    marks: list[MarkInput]

    @classmethod
    def without_parts(cls, message: StoredMessage) -> "_IngressMessage":
        """A message of which nothing is taken."""
        return cls(message, [], 0, [])


class IngressTaker:
    """The fills and marks of one creator shard. `time` is the turn's."""

    def __init__(self, core: ShardCore, state: CreatorShard, time: TurnTime) -> None:
        self._core = core
        self._state = state
        self._time = time
        self._shard = core.key.shard
        self._feed: Feed | None = None
        self._reading: MessageReading[Any] | None = None
        self._message: _IngressMessage | None = None
        self._held: StoredMessage | None = None
        self._place = StreamPlace(state, Source.INGRESS)

    async def open(self) -> None:
        """Read from where the state stands."""
        cursor = self._place.cursor
        after = cursor.sequence if cursor else 0
        self._feed = await self._core.inputs.open_feed(
            INGRESS, ">", after_sequence=after, seen_sequence=after, cursor=cursor
        )

    async def close(self) -> None:
        """Stop reading."""
        if self._feed is not None:
            await self._feed.close()

    def apply(self, event: Any, events: list[Any]) -> None:
        """Apply a decided event and add it to the frame's."""
        self._state.apply_event(event)
        events.append(event)

    # Messages.

    def take(self, events: list[Any], budget: FrameBudget) -> bool:
        """Take messages until a frame's worth is gathered. Returns: whether more may be left."""
        has_more = self._take_messages(events, budget)
        self._place.seal()
        return has_more

    def _take_messages(self, events: list[Any], budget: FrameBudget) -> bool:
        taken = taken_bytes = fills = 0
        while (
            taken < BATCH_MESSAGES
            and taken_bytes < BATCH_BYTES
            and fills < BATCH_FILLS
            and not budget.is_full
        ):
            if self._message is None:
                if self._reading is None:
                    message = self._next_message()
                    if message is None:
                        return False
                    if taken and len(message.data) > BATCH_BYTES // 4:
                        # A large message begins a frame, so that it does not burst one.
                        self._held = message
                        break
                    self._reading = self._begun(message)
                self._message = self._read_on(self._reading, events)
                if self._message is None:
                    return True
            taken += 1
            taken_bytes += len(self._message.message.data)
            fills += self._take_message(self._message, events, budget, BATCH_FILLS - fills)
        return True

    def _next_message(self) -> StoredMessage | None:
        assert self._feed is not None
        held, self._held = self._held, None
        return held or next(iter(self._feed.take(1)), None)

    def _is_of_this_shard(self, message: StoredMessage) -> bool:
        """Return whether every shard takes a message (marks), or this one does (its fills)."""
        if not message.subject.startswith("fills."):
            return True
        creator_id = message.subject.rpartition(".")[2]
        return shard_of(creator_id, self._core.settings.creator_shards) == self._shard

    def _begun(self, message: StoredMessage) -> MessageReading[Any]:
        """Begin to read a message. One that is not of this shard has no parts."""
        subject, data, message_format = (
            message.subject,
            message.data,
            self._core.ports.message_format,
        )
        if not subject.startswith("fills."):
            return MessageReading(message, message_format.marks(subject, data))
        if not self._is_of_this_shard(message):
            return MessageReading(message, iter(()))
        return MessageReading(message, message_format.fills(subject, data, message.sequence))

    def _read_on(self, reading: MessageReading[Any], events: list[Any]) -> _IngressMessage | None:
        """Read a turn's worth of a message. Returns: the message once it is read, else None."""
        try:
            if not reading.read_on():
                return None
        except BadInputError as error:
            return self._unreadable(reading, error, events)
        return self._opened(reading)

    def _opened(self, reading: MessageReading[Any]) -> _IngressMessage:
        """Resume a message that is read at the first of its fills that is not yet decided."""
        self._reading = None
        message = reading.message
        if message.subject.startswith("fills."):
            return _IngressMessage(message, reading.parts, parts_decided(self._place.cursor), [])
        return _IngressMessage(message, [], 0, reading.parts)

    def _unreadable(
        self, reading: MessageReading[Any], error: BadInputError, events: list[Any]
    ) -> _IngressMessage:
        self._reading = None
        message = reading.message
        # Every creator shard reads the marks. One of them reports that they are bad.
        if message.subject.startswith("fills.") or self._shard == 0:
            self._refuse(message, events, error.reason, str(error), message.data)
        return _IngressMessage.without_parts(message)

    def _take_message(
        self, taking: _IngressMessage, events: list[Any], budget: FrameBudget, fills_max: int
    ) -> int:
        """Decide one message, or as many of its fills as a frame and a turn hold, and move the
        cursor. Returns: the number of fills.
        """
        message, first = taking.message, taking.next
        if taking.marks:
            self._take_marks(message, taking.marks, events)
        while taking.next < min(len(taking.fills), first + fills_max) and not budget.is_full:
            self.take_fill(message, taking.fills[taking.next], events)
            taking.next += 1
        self._pass(taking)
        return taking.next - first

    def _pass(self, taking: _IngressMessage) -> None:
        """Move the cursor past what is taken of a message. It must be sealed before a frame."""
        count = len(taking.fills)
        self._place.move(taking.message, decided=taking.next, of=count)
        if taking.next >= count:
            self._message = None

    # Fills and marks.

    def take_fill(self, message: StoredMessage, fill: FillInput, events: list[Any]) -> None:
        """Decide one fill of a message."""
        self._choose_source(events)
        self._time.advance(fill.transact_time)
        self._list([fill.symbol], events)
        decided = self._state.decide_fill(fill, self._time.ns)
        if isinstance(decided, Refused):
            self._refuse(message, events, decided.reason, decided.text, fill.exec_id)
        elif decided is None:
            self._core.counts.fills_repeated += 1
        else:
            self.apply(decided, events)

    def _take_marks(
        self, message: StoredMessage, marks: list[MarkInput], events: list[Any]
    ) -> None:
        source = message.subject.partition(".")[2]
        settings = self._core.settings
        refused = check_source(source, settings.marks_source, settings.brokers)
        if refused is not None:
            if self._shard == 0:
                self._refuse(message, events, refused.reason, refused.text, message.data)
        else:
            self._choose_source(events)
            self._time.advance(max(mark.time for mark in marks))
            self._list([mark.symbol for mark in marks], events)
            decided = self._state.decide_marks(source, marks, self._time.ns)
            if isinstance(decided, Refused):
                if self._shard == 0:
                    self._refuse(message, events, decided.reason, decided.text, message.data)
            elif decided is not None:
                self.apply(decided, events)

    def _choose_source(self, events: list[Any]) -> None:
        """Journal whose marks are trusted, before the first fill or mark that it decides."""
        chosen = self._state.marks.decide_source(self._core.settings.marks_source)
        if chosen is not None:
            self.apply(chosen, events)

    def _list(self, symbols: Sequence[str], events: list[Any]) -> None:
        listed = self._state.decide_list(list(symbols))
        if listed is not None:
            self.apply(listed, events)

    def _refuse(
        self, message: StoredMessage, events: list[Any], reason: str, text: str, data: bytes | str
    ) -> None:
        self._core.counts.inputs_refused += 1
        self.apply(refused_input(message.sequence, message.subject, reason, text, data), events)

    # One input alone.

    async def take_alone(self) -> None:
        """Take one message, or one of its fills, alone. A message of other shards is passed over
        as usual.
        """
        if self._message is not None:
            await self._take_fill_alone(self._message)
            return
        message = self._next_message()
        if message is not None and self._is_of_this_shard(message):
            await self._take_message_alone(message)
        elif message is not None:
            self._pass(_IngressMessage.without_parts(message))
            self._place.seal()
            self._core.inputs.arrived.set()

    async def _take_message_alone(self, message: StoredMessage) -> None:
        """Read a message and take it. If it holds several fills, take each of them alone."""
        tried, events = message_input(Source.INGRESS, message, WHOLE), list[Any]()

        async def take() -> None:
            taking = await self._read_whole(self._begun(message), events)
            if len(taking.fills) > 1:
                # No frame is sent here. It would count as progress whenever the message is read
                # again for one of its fills.
                self._message = taking
                return
            budget = FrameBudget(events, self._core.settings.frame_bytes_max)
            self._take_message(taking, events, budget, BATCH_FILLS)
            self._place.seal()
            await self._core.commit(events, self._time.ns, ())

        if tried != self._core.careful.poison:
            await self._core.alone.attempt(tried, take, self._time.now_ns)
            if self._message is not None:
                await self._take_fill_alone(self._message)
            return
        self._quarantine(message, WHOLE, excerpt_of(message.data), events)
        self._pass(_IngressMessage.without_parts(message))
        self._place.seal()
        await self._core.commit(events, self._time.ns, ())
        await self._core.settle()

    async def _read_whole(self, reading: MessageReading[Any], events: list[Any]) -> _IngressMessage:
        try:
            await reading.read_whole()
        except BadInputError as error:
            return self._unreadable(reading, error, events)
        return self._opened(reading)

    async def _take_fill_alone(self, taking: _IngressMessage) -> None:
        message, position = taking.message, taking.next

        async def decide(events: list[Any], outputs: list[Output]) -> None:
            self.take_fill(message, taking.fills[position], events)
            taking.next += 1
            self._pass(taking)
            self._place.seal()

        def quarantine(events: list[Any]) -> None:
            self._quarantine(message, position, taking.fills[position].exec_id, events)
            taking.next += 1
            self._pass(taking)
            self._place.seal()

        tried = message_input(Source.INGRESS, message, position)
        await self._core.alone.decide(tried, decide, quarantine, self._time.now_ns)

    def _quarantine(
        self, message: StoredMessage, position: int, excerpt: str, events: list[Any]
    ) -> None:
        """Give up a message or one of its fills, and suspend the creator whose portfolio it would
        have changed.
        """
        self.apply(self._core.careful.quarantined("an input that can be decided", excerpt), events)
        kind, broker, creator_id = (*message.subject.split("."), "", "")[:3]
        if kind == "fills":
            suspended = self._state.decide_suspend(creator_id, broker, message.sequence, position)
            if suspended is not None:
                self.apply(suspended, events)
