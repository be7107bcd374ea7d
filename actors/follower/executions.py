"""Taking a broker's reports in a follower shard: executions, and what takes them back.

A message is read as reports and decided report by report (`engine.follower.decide.executions`,
`engine.follower.decide.corrections`); the cursor says how far. What needs the journal's past is
looked up beside the turns: only reports wait for it, signals and commands go on.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.errors import BadInputError
from actors.follower.order_lookup import ORDERS_MAX, OrderLookup, orders_of
from actors.ports import EXECUTIONS, Feed, StoredMessage
from actors.settings import ShardSettings
from actors.shard.committer import Output
from actors.shard.core import ShardCore
from actors.shard.dead_letters import excerpt_of, refused_input
from actors.shard.frame_budget import FrameBudget
from actors.shard.inputs import message_input
from engine.follower.decide.corrections import (
    Rejected,
    Repeated,
    decide_corrections,
    in_distinct_slices,
)
from engine.follower.decide.executions import (
    Unmatched,
    decide_batch,
    decide_reports,
    in_slices,
    next_batch,
)
from engine.follower.order_history import exec_id_of
from engine.follower.shard import FollowerShard
from engine.journal.cursors import NO_ROW, Cursor, Source
from engine.messages.blocks import CorrectionsReported, ExecutionsReported
from engine.values.order_ids import cause_high, format_order_id

REPORT_ROWS_MAX = 65_536
REPORT_ROWS_MIN = 128
"""What a report decided by itself weighs among rows decided at once: a turn of hundreds takes 0.1
s, and everybody waits for it.
"""
CORRECTION_ROWS_MAX = 1_000
MESSAGES_AHEAD_MAX = 1_000
AHEAD_BYTES_MAX = 1 << 20
"""So much is read again with each look-up, to save further ones."""
UNMATCHED_MAX = 1_000
PARKED_EACH_MAX = 16


@dataclass(slots=True)
class _Message:
    """A message of reports being taken: `next` is the first not yet decided; those before `alone`
    are decided one by one.
    """

    message: StoredMessage
    reports: list[ExecutionsReported | CorrectionsReported]
    next: int
    alone: int = 0


class ReportTaker:
    """The reports on one follower shard's orders. `now` tells the event time; `inputs_ns` is the
    latest time that a report has said.
    """

    def __init__(
        self, core: ShardCore, shard: FollowerShard, settings: ShardSettings, now: Callable[[], int]
    ) -> None:
        self._core = core
        self._shard = shard
        self._state = shard.state
        self._settings = settings
        self._now = now
        self._feed: Feed | None = None
        self._message: _Message | None = None
        self._lookup = OrderLookup(core)
        self._ahead: deque[StoredMessage] = deque()
        self.inputs_ns = 0

    async def open(self) -> None:
        """Read from where the state stands."""
        seen = self._state.cursors.get((Source.EXECUTIONS, 0))
        after = seen.sequence if seen else 0
        self._feed = await self._core.open_feed(
            EXECUTIONS,
            f"executions.*.{self._core.key.shard}",
            after_sequence=after,
            seen_sequence=after,
        )

    async def close(self) -> None:
        """Stop reading."""
        await self._lookup.close()
        if self._feed is not None:
            await self._feed.close()

    @property
    def is_looking_up(self) -> bool:
        """Whether executions wait for the journal to be read."""
        return self._lookup.is_reading

    async def wait_looked_up(self) -> None:
        """Wait until the journal is read for what executions wait for."""
        await self._lookup.wait_read()

    def note(self, events: list[Any]) -> None:
        """Note what is decided of orders elsewhere, which a look-up under way does not find in the
        journal yet.
        """
        self._lookup.note(events)

    def _fetch(self) -> None:
        """Have the next message at hand, if there is one."""
        assert self._feed is not None
        if not self._ahead:
            self._lookup.forget()
            self._ahead += self._feed.take(1)

    def take(self, events: list[Any], size: FrameBudget) -> bool:
        """Take reports until a frame's worth is gathered, or one must wait for a look-up; a message
        that is too large for one frame is taken over several, its cursor saying how many of its
        reports are taken. Returns: whether more may be taken at once.
        """
        rows = 0
        while not self._lookup.is_reading and rows < REPORT_ROWS_MAX and not size.is_full:
            if self._message is None:
                self._fetch()
                if not self._ahead:
                    return False
                self._message = self._opened(self._ahead.popleft(), events)
            rows += max(self._take_message(self._message, events, size), REPORT_ROWS_MIN)
        return not self._lookup.is_reading

    def _opened(self, message: StoredMessage, events: list[Any]) -> "_Message":
        try:
            reports = self._read_reports(message)
        except BadInputError as error:
            self._refuse(message, events, error.reason, str(error), message.data)
            return _Message(message, [], 0)
        cursor = self._state.cursors.get((Source.EXECUTIONS, 0))
        is_resumed = cursor is not None and cursor.row != NO_ROW
        return _Message(
            message, reports, cursor.position if cursor is not None and is_resumed else 0
        )

    def _read_reports(
        self, message: StoredMessage
    ) -> list[ExecutionsReported | CorrectionsReported]:
        reports: list[ExecutionsReported | CorrectionsReported] = []
        for report in self._core.ports.wire.reports(message.subject, message.data):
            if isinstance(report, CorrectionsReported):
                reports += in_distinct_slices(report, CORRECTION_ROWS_MAX)
            else:
                reports += in_slices(report, REPORT_ROWS_MAX // 2)
        return reports

    def _take_message(self, taking: "_Message", events: list[Any], size: FrameBudget) -> int:
        """Take reports of one message and move the cursor. Returns: how many rows they weigh."""
        message, rows, first, unmatched = taking.message, 0, taking.next, 0
        broker = message.subject.split(".")[1]
        while (
            taking.next < len(taking.reports)
            and rows < REPORT_ROWS_MAX
            and unmatched < UNMATCHED_MAX
            and not size.is_full
        ):
            taken = self._take_together(broker, taking, events)
            if taken:
                rows += taken
                continue
            report = taking.reports[taking.next]
            is_slow = isinstance(report, CorrectionsReported) or report.numbers[0] < 0
            if is_slow and self._lookup.is_missing(self._state, report):
                self._look_up(taking, events)
                break
            taking.next += 1
            rows += max(len(report.subscriptions), REPORT_ROWS_MIN)
            self.inputs_ns = max(self.inputs_ns, report.transact_time)
            unmatched += self._take_report(message, report, events)
        cursor = Cursor(Source.EXECUTIONS, 0, message.sequence, message.sequence)
        if taking.next < len(taking.reports):
            before = message.sequence - 1
            cursor = Cursor(Source.EXECUTIONS, 0, before, before, position=taking.next, row=0)
        else:
            self._message = None
        if taking.next > first or self._message is None:
            self._state.cursors[Source.EXECUTIONS, 0] = cursor
        return rows

    def _take_together(self, broker: str, taking: "_Message", events: list[Any]) -> int:
        """Decide and apply the next reports in one pass, where they are many and plain. Returns:
        their rows, 0 when none is taken.
        """
        if taking.next < taking.alone or taking.next + 1 >= len(taking.reports):
            return 0
        reports = next_batch(self._state, islice(taking.reports, taking.next, None))
        decided = None
        if len(reports) > 1:
            decided = decide_batch(self._state, broker, reports, taking.message.sequence)
        if decided is None:
            taking.alone = taking.next + max(len(reports), 1)
            return 0
        self._shard.apply_events(decided)
        events += decided
        self._lookup.note(decided)
        taking.next += len(reports)
        self.inputs_ns = max(self.inputs_ns, *(report.transact_time for report in reports))
        return sum(len(report.subscriptions) for report in reports)

    async def take_alone(self) -> None:
        """Take the next message of reports, or the next frame's worth of it, by itself. Of a
        quarantined one nothing more is applied: positions may differ from the broker's until an
        operator has seen to it.
        """
        assert self._feed is not None
        if self._lookup.is_reading:
            return
        if self._message is not None:
            messages = [self._message.message]
        else:
            self._fetch()
            messages = [self._ahead.popleft()] if self._ahead else []
        if not messages:
            return
        message, cursor = messages[0], self._state.cursors.get((Source.EXECUTIONS, 0))
        position = cursor.position if cursor is not None and cursor.row != NO_ROW else 0

        async def decide(events: list[Any], outputs: list[Output]) -> None:
            if self._message is None:
                self._message = self._opened(message, events)
            self._take_message(
                self._message, events, FrameBudget(events, self._settings.frame_bytes_max // 2)
            )

        def park(events: list[Any]) -> None:
            excerpt = excerpt_of(message.data)
            event = self._core.careful.quarantined("executions that can be applied", excerpt)
            self._shard.apply_event(event)
            events.append(event)
            self._message = None
            self._state.cursors[Source.EXECUTIONS, 0] = Cursor(
                Source.EXECUTIONS, 0, message.sequence, message.sequence
            )

        tried = message_input(Source.EXECUTIONS, message, position)
        await self._core.decide_alone(tried, decide, park, self._now)

    def _take_report(
        self,
        message: StoredMessage,
        report: ExecutionsReported | CorrectionsReported,
        events: list[Any],
    ) -> int:
        """Decide and apply one report. Returns: how many parts of it could not be applied."""
        broker, quarantined = message.subject.split(".")[1], list[Rejected]()
        unmatched = 0
        for event in self._decided(broker, report, message.sequence):
            if isinstance(event, Unmatched):
                self._settle(message, event, events)
                unmatched += 1
            elif isinstance(event, Repeated):
                self._core.count("executions_repeated")
            elif isinstance(event, Rejected):
                quarantined.append(event)
            else:
                self._shard.apply_event(event)
                events.append(event)
                self._lookup.note((event,))
        for refused in dict.fromkeys(each.refused for each in quarantined):
            rows = np.array([each.row for each in quarantined if each.refused == refused], np.int64)
            self._park(message, Unmatched(report, refused.reason, refused.text), rows, events)
        return unmatched + len(quarantined)

    def _decided(
        self, broker: str, report: ExecutionsReported | CorrectionsReported, sequence: int
    ) -> Iterator[Any]:
        terms, now = self._settings.terms, self._now()
        if isinstance(report, CorrectionsReported):
            histories = self._lookup.histories
            return decide_corrections(self._state, broker, report, sequence, histories, terms, now)
        return decide_reports(self._state, broker, report, sequence, terms, now)

    def _look_up(self, taking: "_Message", events: list[Any]) -> None:
        """Look up the orders of the next report, and in the same pass those of reports behind it,
        as far as they have come.
        """
        orders = [
            order
            for report in taking.reports[taking.next :][:1]
            for order in orders_of(self._state, report)
        ]
        for report in taking.reports[taking.next + 1 :]:
            if len(orders) >= ORDERS_MAX:
                break
            orders += orders_of(self._state, report)
        for message in self._messages_ahead():
            if len(orders) >= ORDERS_MAX:
                break
            try:
                orders += [
                    each
                    for report in self._read_reports(message)
                    for each in orders_of(self._state, report)
                ]
            except BadInputError:
                # Refused when its turn comes.
                continue
        self._lookup.begin(orders, events)

    def _messages_ahead(self) -> Iterator[StoredMessage]:
        """Name the messages behind the one being taken, as far as they have come and a look-up may
        look.
        """
        assert self._feed is not None
        size = 0
        for place in range(MESSAGES_AHEAD_MAX):
            if place == len(self._ahead):
                self._ahead += self._feed.take(1)
            if place == len(self._ahead) or size > AHEAD_BYTES_MAX:
                return
            yield self._ahead[place]
            size += len(self._ahead[place].data)

    def _settle(self, message: StoredMessage, unmatched: Unmatched, events: list[Any]) -> None:
        """Drop an execution that the journal has applied; park what it has not. A numbered one is
        known by its number alone.
        """
        is_late = unmatched.reason == "unmatched_execution" and unmatched.report.numbers[0] < 0
        if is_late and self._lookup.was_applied(unmatched):
            self._core.count("executions_repeated")
            return
        self._park(message, unmatched, np.arange(len(unmatched.report.subscriptions)), events)

    def _park(
        self,
        message: StoredMessage,
        unmatched: Unmatched,
        rows: NDArray[np.int64],
        events: list[Any],
    ) -> None:
        """Refuse executions of one order cause: a few each in its own words, many in one."""
        if not len(rows):
            return
        self._core.count("executions_parked", len(rows))
        report, why = unmatched.report, unmatched.why
        names = [exec_id_of(report.prefix, int(report.numbers[row])) for row in rows[[0, -1]]]
        if len(rows) > PARKED_EACH_MAX:
            orders = [self._order_id(report, int(row)) for row in rows[[0, -1]]]
            text = (
                f"{len(rows)} executions {names[0]} to {names[1]} of "
                f"orders {orders[0]} to {orders[1]}: {why}"
            )
            self._refuse(message, events, unmatched.reason, text, f"{names[0]} to {names[1]}")
            return
        for row in rows.tolist():
            name = exec_id_of(report.prefix, int(report.numbers[row]))
            text = f"execution {name} of order {self._order_id(report, row)}: {why}"
            self._refuse(message, events, unmatched.reason, text, name)

    def _order_id(self, report: ExecutionsReported | CorrectionsReported, row: int) -> str:
        high = cause_high(
            self._core.key.shard, report.cause_kind, report.creator_shard, report.cause_number
        )
        return format_order_id(
            high, int(report.subscriptions[row]) << 32 | report.leg << 20 | report.attempt
        )

    def _refuse(
        self, message: StoredMessage, events: list[Any], reason: str, text: str, data: bytes | str
    ) -> None:
        event = refused_input(message.sequence, message.subject, reason, text, data)
        self._shard.apply_event(event)
        events.append(event)
