"""A follower shard's actor: signals, reports and commands in; dispositions, orders and answers out.

One turn takes reports first, then the next part of the signal under way, then commands, then exits
whose time has come; everything decided goes into one frame. What reports alone led to is kept for
the next one, which orders ask for soon. Orders leave through the journal itself: the broker gateway
reads them there, so none can leave before its frame is durable (P3). Creator frames are decided in
their journal's order, part by part, so each subscription sees its creator's signals in order (P4).
After crashes each message, part and command is decided alone (`actors.shard.careful`).
"""

import asyncio
import time
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from actors.follower.command_inbox import CommandInbox, PendingCommands
from actors.follower.executions import ReportTaker
from actors.follower.signal_reader import CreatorFrame, SignalReader, whole
from actors.ports import Ports, Request, journal_stream
from actors.settings import ShardSettings
from actors.shard.committer import Output
from actors.shard.core import ShardCore
from actors.shard.frame_budget import FrameBudget
from actors.shard.inputs import Input, command_input
from actors.shard.progress import ProgressNumber
from engine.follower.decide.commands import CommandBatch
from engine.follower.decide.creators import LEARNED, learn
from engine.follower.decide.follow_ups import decide_due
from engine.follower.decide.signals import SignalPart, decide_parts, parts_of, position_of
from engine.follower.shard import FollowerShard
from engine.follower.sizing.batch import BatchBuilder
from engine.journal.cursors import NO_ROW, Source
from engine.journal.events.orders import CancelsRequested, OrdersPlaced
from engine.journal.events.subscriptions import EntriesSuspended
from engine.journal.frame import ShardKey, ShardKind
from engine.messages.answers import Answer
from engine.messages.commands import AccountCommand, name_of

FRAMES_MAX = 256
COMMAND_ROW_BYTES = 32
"""What ending one subscription may write for each of its instruments, at most."""

_decode_progress = msgspec.json.Decoder(ProgressNumber).decode


def _never_quarantined(events: list[Any]) -> None:
    raise AssertionError("a poison command is parked before others are taken")


class FollowerShardActor:
    """One follower shard."""

    def __init__(self, shard: int, incarnation: str, ports: Ports, settings: ShardSettings) -> None:
        self.shard = FollowerShard(shard)
        self.state = self.shard.state
        self.core = ShardCore(
            ShardKey(ShardKind.FOLLOWER, shard), incarnation, ports, settings, self.shard
        )
        self.core.counted = self._counted
        # A large shard decides its next part while the last one is being stored.
        self.core.overlaps = lambda: self._under_way is not None
        self.core.dedicated = self._dedicated
        self.core.keeps_back = lambda: bool(self._unsent)
        self.commands = CommandInbox(
            ports.journal,
            creator_shards=settings.creator_shards,
            commands_max=settings.inbox_commands_max,
            arrived=self.core.arrived,
        )
        self._settings = settings
        self._readers: list[SignalReader] = []
        self.reports = ReportTaker(self.core, self.shard, settings, self._now)
        self._under_way: Iterator[SignalPart] | None = None
        self._taken: BatchBuilder[SignalPart] = BatchBuilder()
        self._is_between_signals = False
        self._has_more = False
        """Whether the last turn left input that it could have taken: the next follows at once."""
        self._frame: CreatorFrame | None = None
        self._inputs_ns = 0
        self._sent_s = float("-inf")
        self._unsent: list[Any] = []
        """What is decided and applied, and in no frame yet."""
        self._reports_size = FrameBudget(self._unsent, settings.frame_bytes_max // 2)
        self._are_reports_left = False
        self._waking: asyncio.TimerHandle | None = None
        self._dedicated_seen = 0
        self._dedicated_shards: tuple[int, ...] = ()

    # Starting and stopping.

    async def start(self) -> None:
        """Recover, then read creator journals and reports from where the state stands."""
        await self.core.recover()
        for creator_shard in range(self._settings.creator_shards):
            cursor = self.state.cursors.get((Source.CREATOR_JOURNAL, creator_shard))
            reader = SignalReader(creator_shard, cursor)
            feed = await self.core.open_feed(
                journal_stream(reader.key),
                reader.key.subject,
                after_sequence=reader.after_sequence,
                seen_sequence=cursor.sequence if cursor else 0,
            )
            reader.open(feed)
            self._readers.append(reader)
        await self.reports.open()
        await self.core.subscribe("heads.creator.*", self._see_progress)

    async def close(self) -> None:
        """Close the feeds."""
        if self._waking is not None:
            # It would keep a dead shard's state in memory beside its successor's.
            self._waking.cancel()
        await self.reports.close()
        for reader in self._readers:
            await reader.close()
        await self.commands.close()

    def _see_progress(self, request: Request) -> None:
        header = _decode_progress(request.data)
        if header.shard < len(self._readers):
            self._readers[header.shard].head_number = header.number

    # A turn.

    async def turn(self) -> None:
        """Decide a batch of everything that has arrived; send one frame, or keep what reports alone
        led to for the next.
        """
        if self.core.careful.is_on:
            await self._turn_carefully()
            return
        events = self._unsent
        outputs: list[Output] = []
        # Half a frame each, so that neither a flood of reports nor one of signals keeps the other
        # waiting. A signal under way goes first: its later parts wait for nothing, and the reports
        # are of its own earlier ones.
        half = self._settings.frame_bytes_max // 2
        self._has_more = False
        was_backlog, kept = self._are_reports_left, len(events)
        if self._under_way is None or self._is_between_signals:
            self._has_more = self._are_reports_left = self.reports.take(events, self._reports_size)
        reported = noted = len(events)
        is_between_parts = self._take_signals(events, FrameBudget(events, half))
        self.reports.note(events[noted:])
        if not is_between_parts:
            # Orders of commands are of causes of their own: no look-up asks for them.
            await self._take_commands(events, outputs)
        noted, due = len(events), FrameBudget(events, half)
        self._apply_all(
            decide_due(self.state, self._settings.terms, self._now(), is_full=lambda: due.is_full),
            events,
        )
        self.reports.note(events[noted:])
        now_s = time.monotonic()
        for reader in self._readers:
            reader.watch(now_s)
        if self._has_more or outputs or due.is_full:
            self.core.arrived.set()
        elif len(events) == reported and not was_backlog and self._reports_wait(events[kept:]):
            return
        if events or outputs:
            self._begin_frame()
            await self.core.commit(events, self._now(), outputs)
            await asyncio.sleep(0)

    def _begin_frame(self) -> None:
        self._sent_s = asyncio.get_running_loop().time()
        self._unsent = []
        self._reports_size = FrameBudget(self._unsent, self._settings.frame_bytes_max // 2)

    def _reports_wait(self, news: list[Any]) -> bool:
        """Whether what reports led to is kept, moments after a frame: under load a signal comes
        soon, and its frame takes it along. Of what they led to just now, orders and cancels do not
        wait.
        """
        loop = asyncio.get_running_loop()
        wait_s = self._sent_s + self._settings.reports_wait_s - loop.time()
        if wait_s <= 0 or self._under_way is not None or self.commands.count:
            return False
        if any(isinstance(event, OrdersPlaced | CancelsRequested) for event in news):
            return False
        if self._unsent and self._waking is None:
            self._waking = loop.call_later(wait_s, self._wake)
        return True

    def _wake(self) -> None:
        self._waking = None
        self.core.arrived.set()

    async def _turn_carefully(self) -> None:
        """Take one message of reports, one part of a signal, the commands and the exits that are
        due, each alone.
        """
        poison = self.core.careful.poison
        if poison is not None and not poison.source:
            # Nobody may ever send it again, but whoever does must not crash the shard.
            await self._park_command(poison)
        if self._under_way is None or self._is_between_signals:
            await self.reports.take_alone()
        await self._part_alone()
        if self._under_way is None and not self._is_between_parts:
            await self._commands_alone()
        events: list[Any] = []
        due = FrameBudget(events, self._settings.frame_bytes_max)
        self._apply_all(
            decide_due(self.state, self._settings.terms, self._now(), is_full=lambda: due.is_full),
            events,
        )
        self.reports.note(events)
        await self._committed(events)
        now_s = time.monotonic()
        for reader in self._readers:
            reader.watch(now_s)

    async def _committed(self, events: list[Any]) -> None:
        """Make durable what is no input's, so that the next has nothing else in hand."""
        if events:
            await self.core.commit(events, self._now(), ())
            await self.core.committer.settle()

    def _now(self) -> int:
        return self.core.event_time_ns(max(self._inputs_ns, self.reports.inputs_ns))

    def _apply_all(self, decided: Iterable[Any], events: list[Any]) -> None:
        for event in decided:
            self.shard.apply_event(event)
            events.append(event)

    # Signals.

    def _take_signals(self, events: list[Any], size: FrameBudget) -> bool:
        """Decide parts until a frame's worth is gathered. Returns: whether a signal is decided in
        part only.
        """
        rows = frames = 0
        is_dry = False
        # After a signal that took several turns, the reports have theirs.
        was_under_way = self._under_way is not None
        while rows < self._settings.part_rows and frames < FRAMES_MAX and not size.is_full:
            if self._under_way is None and (was_under_way or not self._next_frame(events)):
                is_dry = not was_under_way
                break
            frames += 1
            rows += self._take_parts(events, size, self._settings.part_rows - rows)
        self._decide_taken(events)
        self._has_more |= not is_dry
        return self._is_between_parts

    @property
    def _is_between_parts(self) -> bool:
        """Whether a signal is decided in part only. Told from the cursors: after a recovery the
        frame under way may not have been read again yet.
        """
        return any(
            cursor.row != NO_ROW
            for (source, _), cursor in self.state.cursors.items()
            if source is Source.CREATOR_JOURNAL
        )

    def _next_frame(self, events: list[Any]) -> bool:
        for reader in self._readers:
            frame = reader.next_frame()
            if frame is not None:
                self._begin(reader, frame, events)
                return True
        return False

    def _begin(self, reader: SignalReader, frame: CreatorFrame, events: list[Any]) -> None:
        cursor = self.state.cursors.get((Source.CREATOR_JOURNAL, reader.creator_shard))
        resumed = cursor is not None and cursor.number == frame.header.number
        position, row = (cursor.position, cursor.row) if cursor is not None and resumed else (0, 0)
        news = [event for event in frame.events if isinstance(event, LEARNED)]
        if news or (
            self._settings.uses_event_clock and frame.header.event_time_ns > self._inputs_ns
        ):
            # What was taken before does not know of them, nor of this frame's time.
            self._decide_taken(events)
        self._inputs_ns = max(self._inputs_ns, frame.header.event_time_ns)
        self._frame = frame
        for event in news:
            self._apply_all(learn(self.state, reader.creator_shard, event), events)
        self._under_way = (
            part
            for fill in frame.fills
            for part in parts_of(
                self.state,
                reader.creator_shard,
                fill,
                self._settings.part_rows,
                position=position,
                row=row,
            )
        )

    def _take_parts(self, events: list[Any], size: FrameBudget, rows_max: int) -> int:
        """Take parts of the frame under way, moving the cursor with each, and decide those that can
        be decided batched. Returns: rows.
        """
        rows = 0
        while rows < rows_max and not size.is_full:
            part = self._next_part()
            if part is None:
                break
            rows += self._take(part, events)
        return rows

    def _next_part(self) -> SignalPart | None:
        """Name the next part of the frame under way; after its last the frame is behind."""
        frame = self._frame
        assert frame is not None and self._under_way is not None
        part = next(self._under_way, None)
        if part is None:
            creator_shard = frame.header.key.shard
            self._under_way = self._frame = None
            self.state.cursors[Source.CREATOR_JOURNAL, creator_shard] = whole(creator_shard, frame)
        return part

    def _take(self, part: SignalPart, events: list[Any]) -> int:
        """Take one part, to be decided before this turn's frame is sent, and move the cursor behind
        it. Returns: its rows.
        """
        frame = self._frame
        assert frame is not None
        creator_shard = frame.header.key.shard
        rows = min(self._settings.part_rows, part.book.count - part.first_row)
        if not self._taken.has_room(part.book, rows):
            self._decide_taken(events)
        self._taken.add(part.book, rows, part)
        self._is_between_signals = part.is_last_part
        position = position_of(part.fill.signal, part.leg.leg)
        self.state.cursors[Source.CREATOR_JOURNAL, creator_shard] = whole(
            creator_shard, frame
        )._replace(position=position, row=part.first_row + rows)
        return rows

    def _decide_taken(self, events: list[Any]) -> None:
        """Decide the parts that are taken, and apply what is decided."""
        parts = self._taken.take()
        if parts:
            self.core.count("signal_passes")
            decided = decide_parts(
                self.state, parts, self._settings.terms, self._settings.part_rows, self._now()
            )
            self.shard.apply_events(decided)
            events += decided

    async def _part_alone(self) -> None:
        """Decide the next part by itself. Of a quarantined one this shard's subscriptions copy
        nothing, nor further entries of its creator.
        """
        learned: list[Any] = []
        if self._under_way is None and not self._next_frame(learned):
            return
        self.core.arrived.set()
        await self._committed(learned)
        frame, part = self._frame, self._next_part()
        if frame is None or part is None:
            return
        book, signal, leg = part.book, part.fill.signal, part.leg.leg

        async def decide(events: list[Any], outputs: list[Output]) -> None:
            self._take(part, events)
            self._decide_taken(events)
            self.reports.note(events)

        def quarantine(events: list[Any]) -> None:
            what = (
                f"signal {signal} leg {leg} of creator {book.creator}, rows from {part.first_row}"
            )
            quarantined = self.core.careful.quarantined("a signal that can be decided", what)
            self._apply_all(
                (quarantined, EntriesSuspended(book.creator_shard, book.creator, signal)), events
            )
            self._take(part, events)
            self._decide_taken(events)

        tried = Input(
            Source.CREATOR_JOURNAL,
            book.creator_shard,
            frame.sequence,
            position_of(signal, leg),
            part.first_row,
            frame.header.key.subject,
        )
        await self.core.decide_alone(tried, decide, quarantine, self._now)

    # Commands.

    async def _take_commands(self, events: list[Any], outputs: list[Output]) -> None:
        """Decide commands. What does not fit into one frame is sent in several, copy between two
        commands; answers go with the last.
        """
        size = FrameBudget(events, self._settings.frame_bytes_max, of_all=True)
        for pending in self.commands.take(self._creator_cursor):
            outputs.append(await self._take_pending(pending, [], events, size))

    async def _take_pending(
        self, pending: PendingCommands, answers: list[Answer], events: list[Any], size: FrameBudget
    ) -> Output:
        """Decide the commands of one message that are not answered yet."""
        left = pending.commands[len(answers) :]
        for event in self._batch().decide(left, self._settings.terms, self._now()):
            if not isinstance(event, Answer):
                self.shard.apply_event(event)
                events.append(event)
                continue
            answers.append(event)
            if size.is_full:
                await self.core.commit(events, self._now(), ())
                events.clear()
                size.begin()
        return self._answers(pending, answers)

    def _batch(self) -> CommandBatch:
        return CommandBatch(
            self.state,
            creator_shards=self._settings.creator_shards,
            follower_shards=self._settings.follower_shards,
            brokers=frozenset(self._settings.brokers),
            rows_max=self._settings.frame_bytes_max // COMMAND_ROW_BYTES,
        )

    async def _commands_alone(self) -> None:
        """Decide the commands that are ready one by one, for as long as the shard is careful; a
        message's answers go with its last.
        """
        for pending in self.commands.take(self._creator_cursor):
            answers: list[Answer] = []
            while self.core.careful.is_on and len(answers) < len(pending.commands):
                await self._command_alone(pending.commands[len(answers)], pending, answers)
                await self.core.let_neighbours_in()
            if len(answers) < len(pending.commands):
                events: list[Any] = []
                size = FrameBudget(events, self._settings.frame_bytes_max)
                output = await self._take_pending(pending, answers, events, size)
                await self.core.commit(events, self._now(), [output])

    async def _command_alone(
        self, command: AccountCommand, pending: PendingCommands, answers: list[Answer]
    ) -> None:
        async def decide(events: list[Any], outputs: list[Output]) -> None:
            for event in self._batch().decide([command], self._settings.terms, self._now()):
                if isinstance(event, Answer):
                    answers.append(event)
                else:
                    self._apply_all((event,), events)
            if len(answers) == len(pending.commands):
                outputs.append(self._answers(pending, answers))

        await self.core.decide_alone(
            command_input(name_of(command)), decide, _never_quarantined, self._now
        )

    async def _park_command(self, poison: Input) -> None:
        events: list[Any] = []
        quarantined = self.core.careful.quarantined("a command that can be decided", poison.subject)
        self._apply_all((quarantined,), events)
        await self._committed(events)

    @staticmethod
    def _answers(pending: PendingCommands, answers: list[Answer]) -> Output:
        return lambda: pending.reply(answers)

    def _creator_cursor(self, creator_shard: int) -> int:
        cursor = self.state.cursors.get((Source.CREATOR_JOURNAL, creator_shard))
        return cursor.number if cursor else 0

    # Telling.

    def _counted(self) -> dict[str, int]:
        waiting = sum(slot.follow_ups.count for _, slot in self.state.slots_with_follow_ups())
        return {
            "accounts": len(self.state.account_ids),
            "subscriptions": self.state.places.count,
            "open_orders": self.state.orders.count,
            "follow_ups": waiting,
            "commands_waiting": self.commands.count,
            "suspended_creators": len(self.state.suspended),
            "inputs_parked": self.state.quarantine.count,
        }

    def _dedicated(self) -> tuple[int, ...]:
        # Asked for with every header: only the accounts opened since are looked at.
        given = self.state.accounts["dedicated"][self._dedicated_seen :]
        self._dedicated_seen += len(given)
        self._dedicated_shards += tuple(given[given >= 0].tolist())
        return self._dedicated_shards
