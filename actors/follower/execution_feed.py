"""The feed of a follower shard's executions: the next message, and a look at those behind it."""

from collections import deque
from collections.abc import Iterator

from actors.ports import EXECUTIONS, Feed, StoredMessage
from actors.shard.core import ShardCore
from engine.follower.decide.corrections import corrections_in_slices
from engine.follower.decide.executions import in_slices
from engine.follower.decide.trades_in_turn import is_repeating, passes_over
from engine.journal.cursors import Cursor
from engine.messages.blocks import CorrectionsReported, Report

REPORT_ROWS_MAX = 65_536
CORRECTION_ROWS_MAX = 1_000
REPEATED_ROWS_MAX = 2_048
"""The most rows of a slice that names some orders many times: they are taken one by one."""
MESSAGES_AHEAD_MAX = 1_000
AHEAD_BYTES_MAX = 1 << 20
"""Each look-up reads so much ahead again, to save further look-ups."""


class ExecutionFeed:
    """The messages on one shard's orders."""

    def __init__(self, core: ShardCore) -> None:
        self._core = core
        self._feed: Feed | None = None
        self._ahead: deque[StoredMessage] = deque()

    async def open(self, cursor: Cursor | None) -> None:
        """Read after a cursor, up to which messages are taken."""
        after_sequence = cursor.sequence if cursor else 0
        self._feed = await self._core.inputs.open_feed(
            EXECUTIONS,
            f"executions.*.{self._core.key.shard}",
            after_sequence=after_sequence,
            seen_sequence=after_sequence,
            cursor=cursor,
        )

    async def close(self) -> None:
        """Stop reading."""
        if self._feed is not None:
            await self._feed.close()

    @property
    def has_read_ahead(self) -> bool:
        """True while messages are at hand that a look-up has looked at."""
        return bool(self._ahead)

    def next(self) -> StoredMessage | None:
        """Take the next message; None when none has come."""
        assert self._feed is not None
        if not self._ahead:
            self._ahead += self._feed.take(1)
        return self._ahead.popleft() if self._ahead else None

    def ahead(self) -> Iterator[StoredMessage]:
        """The messages behind the one last taken, as far as they have come and a look-up may
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

    def walk(self, message: StoredMessage) -> Iterator[Report]:
        """Yield the reports in a message, large ones in slices. Raises: BadInputError."""
        for report in self._core.ports.message_format.reports(message.subject, message.data):
            if isinstance(report, CorrectionsReported):
                yield from corrections_in_slices(report, CORRECTION_ROWS_MAX)
            elif is_repeating(report):
                yield from in_slices(report, REPEATED_ROWS_MAX)
            else:
                yield from in_slices(report, REPORT_ROWS_MAX // 2)


def cost_in_rows(report: Report, least: int) -> int:
    """Return how many plain rows a report counts as, among those that a turn takes: `least` for
    each pass over its rows.
    """
    rows = len(report.subscriptions)
    if isinstance(report, CorrectionsReported):
        return max(rows * (REPORT_ROWS_MAX // CORRECTION_ROWS_MAX), least)
    if is_repeating(report):
        return max(rows * (REPORT_ROWS_MAX // REPEATED_ROWS_MAX), least)
    return max(rows, least * passes_over(report))
