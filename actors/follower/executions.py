"""The executions of a follower shard: reports on its orders, and corrections of them.

A message is read as reports and decided report by report (`engine.follower.decide.executions`,
`engine.follower.decide.corrections`). The cursor says how many are decided. A report that needs the
journal's past is looked up beside the turns: only executions wait for it, signals and commands go
on.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, groupby, islice
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from actors.errors import BadInputError
from actors.follower.execution_feed import REPORT_ROWS_MAX, ExecutionFeed, cost_in_rows
from actors.follower.order_lookup import ORDERS_MAX, OrderLookup, orders_of
from actors.follower.refused_executions import Refusal, refused_executions
from actors.ports import StoredMessage
from actors.shard.committer import Output
from actors.shard.core import ShardCore
from actors.shard.dead_letters import excerpt_of, refused_input
from actors.shard.frame_budget import FrameBudget
from actors.shard.input_names import message_input
from actors.shard.inputs import StreamPlace
from actors.shard.message_reading import PARTS_EACH, MessageReading
from engine.follower.decide.check_correction import Rejected, Repeated
from engine.follower.decide.check_reports import Implausible
from engine.follower.decide.corrections import decide_corrections
from engine.follower.decide.executions import Unmatched, decide_reports
from engine.follower.decide.whole_groups import decide_batch, next_batch
from engine.follower.deciding import Deciding
from engine.follower.order_watch import OrderWatch
from engine.follower.shard import FollowerShard
from engine.journal.cursors import Source, parts_decided
from engine.messages.blocks import CorrectionsReported, Report, exec_id_of
from engine.values.order_ids import OrderKey
from engine.values.refusals import Refused

_log = structlog.get_logger()

REPORT_ROWS_MIN = 512
"""The rows that a report decided by itself counts as, among rows decided at once. It takes up to
0.3 ms, and everything else waits for the turn.
"""
UNMATCHED_MAX = 1_000
BATCH_REPORTS_MAX = 1_024


@dataclass(slots=True)
class _ReportsMessage:
    """A message being taken: `next` is the first report that is not yet decided. Reports before
    `alone` are decided one by one.
    """

    message: StoredMessage
    reports: list[Report]
    next: int
    alone: int = 0

    @property
    def broker(self) -> str:
        """The broker that reports."""
        return self.message.subject.split(".")[1]


class ExecutionTaker:
    """The executions on one follower shard's orders. `now` tells the event time; `inputs_ns` is the
    latest time that a report states.
    """

    def __init__(
        self,
        core: ShardCore,
        shard: FollowerShard,
        lookup: OrderLookup,
        watch: OrderWatch,
        now: Callable[[], int],
    ) -> None:
        self._core = core
        self._shard = shard
        self._state = shard.state
        self._lookup = lookup
        self._watch = watch
        self._settings = core.settings
        self._now = now
        self._feed = ExecutionFeed(core)
        self._reading: MessageReading[Report] | None = None
        self._message: _ReportsMessage | None = None
        self._refusals: list[Refusal] = []
        self._place = StreamPlace(shard.state, Source.EXECUTIONS)
        self.inputs_ns = 0

    async def open(self) -> None:
        """Read from where the state stands."""
        await self._feed.open(self._place.cursor)

    async def close(self) -> None:
        """Stop reading."""
        await self._feed.close()

    # Messages.

    def take(self, events: list[Any], budget: FrameBudget) -> bool:
        """Take reports until a frame's worth is gathered, or one must wait for a look-up. Returns:
        whether more may be taken at once.

        A message that is too large for one frame is taken over several.
        """
        has_more = self._take_messages(events, budget)
        self._place.seal()
        return has_more

    def _take_messages(self, events: list[Any], budget: FrameBudget) -> bool:
        rows = 0
        while not self._lookup.is_reading and rows < REPORT_ROWS_MAX and not budget.is_full:
            if self._message is None:
                reading = self._next_reading()
                if reading is None:
                    return False
                self._message = self._read_on(reading, events)
                if self._message is None:
                    return True
            rows += max(self._take_message(self._message, events, budget), REPORT_ROWS_MIN)
        return not self._lookup.is_reading

    def _next_reading(self) -> MessageReading[Report] | None:
        """Return the message being read, or begin to read the next one; None when none has come."""
        if self._reading is None:
            if not self._feed.has_read_ahead:
                # The look-up was for the messages read ahead.
                self._lookup.forget()
            message = self._feed.next()
            if message is not None:
                self._reading = MessageReading(message, self._feed.walk(message))
        return self._reading

    def _read_on(
        self, reading: MessageReading[Report], events: list[Any]
    ) -> _ReportsMessage | None:
        """Read a turn's worth of a message. Returns: the message once it is read, else None."""
        try:
            if not reading.read_on():
                return None
        except BadInputError as error:
            return self._refused(reading, error, events)
        return self._opened(reading)

    def _opened(self, reading: MessageReading[Report]) -> _ReportsMessage:
        self._reading = None
        return _ReportsMessage(reading.message, reading.parts, self._reports_decided())

    def _refused(
        self, reading: MessageReading[Report], error: BadInputError, events: list[Any]
    ) -> _ReportsMessage:
        self._reading = None
        message = reading.message
        refused = refused_input(
            message.sequence, message.subject, error.reason, str(error), message.data
        )
        self._shard.apply_each((refused,), events)
        return _ReportsMessage(message, [], 0)

    def _reports_decided(self) -> int:
        """The number of decided reports of the message under way."""
        return parts_decided(self._place.cursor)

    def _take_message(self, taking: _ReportsMessage, events: list[Any], budget: FrameBudget) -> int:
        """Take reports of one message and move the cursor. Returns: how many rows they count as."""
        rows, first, unmatched = 0, taking.next, 0
        while (
            taking.next < len(taking.reports)
            and rows < REPORT_ROWS_MAX
            and unmatched < UNMATCHED_MAX
            and not budget.is_full
        ):
            taken = self._take_batch(taking, events)
            if taken:
                rows += taken
                continue
            report = taking.reports[taking.next]
            is_slow = isinstance(report, CorrectionsReported) or report.numbers[0] < 0
            if is_slow and self._lookup.is_missing(self._state, report):
                self._look_up(taking, events)
                break
            taking.next += 1
            rows += cost_in_rows(report, REPORT_ROWS_MIN)
            self.inputs_ns = max(self.inputs_ns, report.transact_time)
            unmatched += self._take_report(taking, report, events)
        self._tell_refused(taking.message, events)
        if taking.next > first or taking.next == len(taking.reports):
            self._pass(taking)
        return rows

    def _pass(self, taking: _ReportsMessage) -> None:
        """Move the cursor past the reports taken of a message. It must be sealed before a frame."""
        count = len(taking.reports)
        self._place.move(taking.message, decided=taking.next, of=count)
        if taking.next >= count:
            self._message = None

    # Reports.

    def _take_batch(self, taking: _ReportsMessage, events: list[Any]) -> int:
        """Decide and apply the next reports in one pass, if they are many and plain. Returns: their
        rows, 0 when none is taken.
        """
        if taking.next < taking.alone or taking.next + 1 >= len(taking.reports):
            return 0
        reports = next_batch(
            self._state, taking.reports[taking.next : taking.next + BATCH_REPORTS_MAX]
        )
        decided = None
        if len(reports) > 1:
            decided = decide_batch(self._state, taking.broker, reports, taking.message.sequence)
        if decided is None:
            taking.alone = taking.next + max(len(reports), 1)
            return 0
        self._shard.apply_events(decided)
        events += decided
        self._lookup.note(decided)
        taking.next += len(reports)
        self.inputs_ns = max(self.inputs_ns, *(report.transact_time for report in reports))
        return sum(len(report.subscriptions) for report in reports)

    def _take_report(self, taking: _ReportsMessage, report: Report, events: list[Any]) -> int:
        """Decide and apply one report. Returns: how many parts of it could not be applied."""
        rejected: list[Rejected] = []
        unmatched = 0
        doubts: list[Implausible] = []
        for event in self._decided(taking, report, doubts):
            if isinstance(event, Unmatched):
                self._refuse_unknown(event)
                unmatched += 1
            elif isinstance(event, Repeated):
                self._core.counts.executions_repeated += 1
            elif isinstance(event, Rejected):
                rejected.append(event)
            else:
                self._shard.apply_each((event,), events)
                self._lookup.note((event,))
        for doubt in doubts:
            self._alarm_implausible(taking, doubt)
        for refused, alike in groupby(sorted(rejected, key=_refused), key=_refused):
            rows = np.array([each.row for each in alike], np.int64)
            self._refuse(Unmatched(report, refused.reason, refused.text), rows)
        return unmatched + len(rejected)

    def _alarm_implausible(self, taking: _ReportsMessage, found: Implausible) -> None:
        """Tell an operator of trades that count, but can hardly be right."""
        self._core.counts.executions_implausible += len(found.rows)
        first = int(found.rows[0])
        _log.error(
            "implausible",
            broker=taking.broker,
            shard=str(self._core.key),
            executions=len(found.rows),
            first=exec_id_of(found.report.prefix, int(found.report.numbers[first])),
            subscription=int(found.report.subscriptions[first]),
            why=found.why,
            alarm=True,
        )

    def _decided(
        self, taking: _ReportsMessage, report: Report, doubts: list[Implausible]
    ) -> Iterator[Any]:
        broker, sequence = taking.broker, taking.message.sequence
        deciding = Deciding(self._state, self._settings.policy, self._now())
        if isinstance(report, CorrectionsReported):
            return decide_corrections(deciding, broker, report, sequence, self._lookup.histories)
        self._watch.note_new(self._state, report)
        return decide_reports(deciding, broker, report, sequence, doubts)

    def _look_up(self, taking: _ReportsMessage, events: list[Any]) -> None:
        """Look up the orders of the next report, and in the same pass those of reports behind it,
        as far as they have come.
        """
        orders: list[tuple[OrderKey, int]] = []
        under_way = taking.reports[taking.next : taking.next + PARTS_EACH]
        for report in chain(under_way, islice(self._reports_ahead(), PARTS_EACH)):
            if len(orders) >= ORDERS_MAX:
                break
            orders += orders_of(self._state, report)
        self._lookup.begin(orders, events)

    def _reports_ahead(self) -> Iterator[Report]:
        """Yield the reports of the messages behind the one under way."""
        for message in self._feed.ahead():
            # A message that cannot be read is refused when its turn comes.
            with suppress(BadInputError):
                yield from self._feed.walk(message)

    # Refusing.

    def _refuse_unknown(self, unmatched: Unmatched) -> None:
        """Drop an execution that the journal has applied; refuse one that it has not.

        A numbered execution is known by its number alone.
        """
        is_late = unmatched.reason == "unmatched_execution" and unmatched.report.numbers[0] < 0
        if is_late and self._lookup.was_applied(unmatched):
            self._core.counts.executions_repeated += 1
            return
        self._refuse(unmatched, np.arange(len(unmatched.report.subscriptions)))

    def _refuse(self, unmatched: Unmatched, rows: NDArray[np.int64]) -> None:
        """Refuse some executions of one report. They are told of with the others of the turn."""
        if len(rows):
            self._core.counts.executions_refused += len(rows)
            self._refusals.append(Refusal(unmatched, rows))

    def _tell_refused(self, message: StoredMessage, events: list[Any]) -> None:
        """Journal what was refused of a message."""
        refusals, self._refusals = self._refusals, []
        if refusals:
            refused = refused_executions(self._core.key.shard, message, refusals)
            self._shard.apply_each(refused, events)

    # One message alone.

    async def take_alone(self) -> None:
        """Take the next message, or the next frame's worth of it, alone.

        Nothing more of a quarantined message is applied. Positions may differ from the broker's
        until an operator has settled it.
        """
        if self._lookup.is_reading:
            return
        under_way = self._message or self._next_reading()
        if under_way is None:
            return
        message = under_way.message

        async def decide(events: list[Any], outputs: list[Output]) -> None:
            if isinstance(under_way, MessageReading):
                self._message = await self._read_whole(under_way, events)
            budget = FrameBudget(events, self._settings.frame_bytes_max // 2)
            assert self._message is not None, "it is read"
            self._take_message(self._message, events, budget)
            self._place.seal()

        def quarantine(events: list[Any]) -> None:
            self._reading = None
            excerpt = excerpt_of(message.data)
            event = self._core.careful.quarantined("executions that can be applied", excerpt)
            self._shard.apply_each((event,), events)
            self._pass(_ReportsMessage(message, [], 0))
            self._place.seal()

        tried = message_input(Source.EXECUTIONS, message, self._reports_decided())
        await self._core.alone.decide(tried, decide, quarantine, self._now)

    async def _read_whole(
        self, reading: MessageReading[Report], events: list[Any]
    ) -> _ReportsMessage:
        try:
            await reading.read_whole()
        except BadInputError as error:
            return self._refused(reading, error, events)
        return self._opened(reading)


def _refused(rejected: Rejected) -> Refused:
    return rejected.refused
