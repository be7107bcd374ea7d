"""The signals of a follower shard: creator frames, decided part by part.

A large shard decides a signal in parts, each a frame's worth of subscriptions. The cursor names the
last part taken, so an owner resumes after it. Parts of different books are gathered first and
decided in one pass.

    frame of a creator journal --> its fills --> their parts --> gathered --> decided, applied
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from actors.follower.order_lookup import OrderLookup
from actors.follower.signal_reader import CreatorFrame, SignalReader, whole
from actors.ports import Request, journal_stream
from actors.shard.committer import Output
from actors.shard.core import ShardCore
from actors.shard.frame_budget import FrameBudget
from actors.shard.input_names import Input
from actors.shard.progress import ProgressNumber
from engine.follower.decide.creators import LEARNED, learn
from engine.follower.decide.signals import SignalPart, decide_parts, parts_of, position_of
from engine.follower.deciding import Deciding
from engine.follower.shard import FollowerShard
from engine.follower.sizing.batch import BatchBuilder
from engine.journal.cursors import NO_ROW, Source
from engine.journal.events.subscriptions import EntriesSuspended

FRAMES_MAX = 256

_decode_progress = msgspec.json.Decoder(ProgressNumber).decode


class SignalTaker:
    """The signals of one follower shard. `now` tells the event time; `inputs_ns` is the latest time
    that a creator frame states.
    """

    def __init__(
        self, core: ShardCore, shard: FollowerShard, lookup: OrderLookup, now: Callable[[], int]
    ) -> None:
        self._core = core
        self._shard = shard
        self._state = shard.state
        self._lookup = lookup
        self._now = now
        self._settings = core.settings
        self._readers: list[SignalReader] = []
        self._frame: CreatorFrame | None = None
        self._parts: Iterator[SignalPart] | None = None
        """The parts of the frame under way that are not yet taken."""
        self._gathered: BatchBuilder[SignalPart] = BatchBuilder()
        self._is_between_signals = False
        self.inputs_ns = 0

    # Reading.

    async def open(self) -> None:
        """Read the creator journals from where the state stands."""
        for creator_shard in range(self._settings.creator_shards):
            cursor = self._state.cursors.get((Source.CREATOR_JOURNAL, creator_shard))
            reader = SignalReader(creator_shard, cursor, self._core.foreign)
            feed = await self._core.inputs.open_feed(
                journal_stream(reader.key),
                reader.key.subject,
                after_sequence=reader.after_sequence,
                seen_sequence=cursor.sequence if cursor else 0,
            )
            reader.open(feed)
            self._readers.append(reader)

    async def open_progress(self) -> None:
        """Hear of the creator shards' progress."""
        await self._core.inputs.subscribe("heads.creator.*", self._see_progress)

    def _see_progress(self, request: Request) -> None:
        progress = _decode_progress(request.data)
        if progress.shard < len(self._readers):
            self._readers[progress.shard].told_number = progress.number

    def watch(self, now_s: float) -> None:
        """Open feeds again that are behind their shard's progress for long."""
        for reader in self._readers:
            reader.watch(now_s)

    async def close(self) -> None:
        """Stop reading."""
        for reader in self._readers:
            await reader.close()

    # Where it stands.

    @property
    def is_under_way(self) -> bool:
        """True while a creator frame is taken in part."""
        return self._parts is not None

    @property
    def is_mid_signal(self) -> bool:
        """True while the next part is of the same signal as the last. Executions wait until that
        signal is decided.
        """
        return self._parts is not None and not self._is_between_signals

    @property
    def is_between_parts(self) -> bool:
        """True while a signal is decided in part. The cursors tell: after a recovery the frame may
        not have been read again yet.
        """
        return any(
            cursor.row != NO_ROW
            for (source, _), cursor in self._state.cursors.items()
            if source is Source.CREATOR_JOURNAL
        )

    # Taking.

    def take(self, events: list[Any], budget: FrameBudget) -> bool:
        """Decide parts until a frame's worth is gathered. Returns: whether more may be there."""
        first, rows, frames = len(events), 0, 0
        is_dry = False
        # After a signal that took several turns, executions have their turn.
        was_under_way = self._parts is not None
        while rows < self._settings.part_rows and frames < FRAMES_MAX and not budget.is_full:
            if self._parts is None and (was_under_way or not self._next_frame(events)):
                is_dry = not was_under_way
                break
            frames += 1
            rows += self._take_parts(events, budget, self._settings.part_rows - rows)
        self._decide_gathered(events)
        self._lookup.note(events[first:])
        return not is_dry

    def _next_frame(self, events: list[Any]) -> bool:
        """Begin the next creator frame. Returns: whether there is one."""
        for reader in self._readers:
            frame = reader.next_frame()
            if frame is not None:
                self._begin_frame(reader.creator_shard, frame, events)
                return True
        return False

    def _begin_frame(self, creator_shard: int, frame: CreatorFrame, events: list[Any]) -> None:
        cursor = self._state.cursors.get((Source.CREATOR_JOURNAL, creator_shard))
        resumed = cursor is not None and cursor.number == frame.header.number
        position, row = (cursor.position, cursor.row) if cursor is not None and resumed else (0, 0)
        news = [event for event in frame.events if isinstance(event, LEARNED)]
        if news or (
            self._settings.uses_event_clock and frame.header.event_time_ns > self.inputs_ns
        ):
            # The parts gathered so far know neither of the news nor of this frame's time.
            self._decide_gathered(events)
        self.inputs_ns = max(self.inputs_ns, frame.header.event_time_ns)
        self._frame = frame
        for event in news:
            self._shard.apply_each(learn(self._state, creator_shard, event), events)
        self._parts = (
            part
            for fill in frame.fills
            for part in parts_of(
                self._state,
                creator_shard,
                fill,
                self._settings.part_rows,
                position=position,
                row=row,
            )
        )

    def _take_parts(self, events: list[Any], budget: FrameBudget, rows_max: int) -> int:
        """Gather parts of the frame under way. Returns: their rows."""
        rows = 0
        while rows < rows_max and not budget.is_full:
            part = self._next_part()
            if part is None:
                break
            rows += self._gather(part, events)
        return rows

    def _next_part(self) -> SignalPart | None:
        """Take the next part of the frame under way. After the last one the frame is done with."""
        frame = self._frame
        assert frame is not None and self._parts is not None
        part = next(self._parts, None)
        if part is None:
            creator_shard = frame.header.key.shard
            self._parts = self._frame = None
            self._state.cursors[Source.CREATOR_JOURNAL, creator_shard] = whole(creator_shard, frame)
        return part

    def _gather(self, part: SignalPart, events: list[Any]) -> int:
        """Gather one part, to be decided before this turn's frame is sent, and move the cursor
        behind it. Returns: its rows.
        """
        frame = self._frame
        assert frame is not None
        creator_shard = frame.header.key.shard
        rows = min(self._settings.part_rows, part.book.count - part.first_row)
        if not self._gathered.has_room(part.book, rows):
            self._decide_gathered(events)
        self._gathered.add(part.book, rows, part)
        self._is_between_signals = part.is_last_part
        position = position_of(part.fill.signal, part.leg.leg)
        self._state.cursors[Source.CREATOR_JOURNAL, creator_shard] = whole(
            creator_shard, frame
        )._replace(position=position, row=part.first_row + rows)
        return rows

    def _decide_gathered(self, events: list[Any]) -> None:
        """Decide the parts gathered, and apply the decisions."""
        parts = self._gathered.take()
        if parts:
            self._core.counts.signal_passes += 1
            deciding = Deciding(self._state, self._settings.policy, self._now())
            decided = decide_parts(deciding, parts, self._settings.part_rows)
            self._shard.apply_events(decided)
            events += decided

    # One part alone.

    async def take_alone(self) -> None:
        """Decide the next part alone. If it is quarantined, this shard's subscriptions copy nothing
        of it, and no further entries of its creator.
        """
        learned: list[Any] = []
        if self._parts is None and not self._next_frame(learned):
            return
        self._core.inputs.arrived.set()
        await self._core.alone.settle(learned, self._now)
        frame, part = self._frame, self._next_part()
        if frame is None or part is None:
            return
        book, signal, leg = part.book, part.fill.signal, part.leg.leg

        async def decide(events: list[Any], outputs: list[Output]) -> None:
            self._gather(part, events)
            self._decide_gathered(events)
            self._lookup.note(events)

        def quarantine(events: list[Any]) -> None:
            what = (
                f"signal {signal} leg {leg} of creator {book.creator}, rows from {part.first_row}"
            )
            quarantined = self._core.careful.quarantined("a signal that can be decided", what)
            suspended = EntriesSuspended(book.creator_shard, book.creator, signal)
            self._shard.apply_each((quarantined, suspended), events)
            self._gather(part, events)
            self._decide_gathered(events)

        tried = Input(
            Source.CREATOR_JOURNAL,
            book.creator_shard,
            frame.sequence,
            position_of(signal, leg),
            part.first_row,
            frame.header.key.subject,
        )
        await self._core.alone.decide(tried, decide, quarantine, self._now)
