"""The look-up of orders in the shard's own journal: the slow path for corrections, and for reports
on orders that are closed (P8).

A look-up runs beside the turns. Only executions wait for it. Signals and commands go on, and the
look-up takes note of what they decide meanwhile. One pass looks up many orders, newest frame first,
back to where the oldest of them was placed.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from actors.journal.backwards import frames_back
from actors.shard.core import ShardCore
from engine.columns.reductions import is_any
from engine.follower.decide.corrections import is_working
from engine.follower.decide.executions import Unmatched
from engine.follower.order_histories import OrderHistories
from engine.follower.order_history import OrderHistory
from engine.follower.state import FollowerState
from engine.journal.frame import decode_header
from engine.messages.blocks import CorrectionsReported, Report, exec_id_of
from engine.values.order_ids import OrderKey
from engine.values.order_status import ENDS, ExecType

ORDERS_MAX = 4096
"""The most orders looked up in one pass; the last report may add more."""
_APPLIED = (ExecType.TRADE, *ENDS)


def orders_of(shard: FollowerState, report: Report) -> Iterator[tuple[OrderKey, int]]:
    """The orders whose history must be known to decide a report: those of a correction, and an
    order that is closed, if the report has no number.
    """
    key = report.key
    if isinstance(report, CorrectionsReported):
        for subscription in report.subscriptions.tolist():
            if 0 <= subscription < shard.places.count:
                yield key, subscription
    elif report.numbers[0] < 0 and is_any(report.exec_types, _APPLIED).any():
        # A numbered execution is known by its number, and the state holds the executions of open
        # orders.
        subscription = int(report.subscriptions[0])
        if 0 <= subscription < shard.places.count and not is_working(shard, key, subscription):
            yield key, subscription


class OrderLookup:
    """One look-up at a time, and its findings until they are forgotten."""

    def __init__(self, core: ShardCore) -> None:
        self._core = core
        self._histories: OrderHistories | None = None
        self._reading: asyncio.Task[None] | None = None

    @property
    def is_reading(self) -> bool:
        """True while executions must wait. Raises: the error that ended the reading."""
        if self._reading is None:
            return False
        if not self._reading.done():
            return True
        reading, self._reading = self._reading, None
        reading.result()
        return False

    @property
    def histories(self) -> OrderHistories:
        """The findings; empty when there are none."""
        return self._histories if self._histories is not None else OrderHistories()

    def is_missing(self, shard: FollowerState, report: Report) -> bool:
        """Return whether a report names an order that must be looked up first."""
        return any(self.histories.get(*order) is None for order in orders_of(shard, report))

    def was_applied(self, unmatched: Unmatched) -> bool:
        """Return whether a single report that found no open order was applied before."""
        report = unmatched.report
        history: OrderHistory | None = self.histories.get(report.key, int(report.subscriptions[0]))
        return history is not None and history.has(
            exec_id_of(report.prefix, int(report.numbers[0]))
        )

    def begin(self, orders: Iterable[tuple[OrderKey, int]], events: Sequence[Any]) -> None:
        """Begin to look orders up. `events` are the turn's so far, which are in no frame yet."""
        assert self._reading is None, "one look-up at a time"
        self._histories = OrderHistories()
        for key, subscription in orders:
            self._histories.want(key, subscription)
        self._histories.note(events)
        self._reading = asyncio.create_task(
            self._read(self._histories, self._core.writer.number), name=f"look-up {self._core.key}"
        )
        self._core.counts.orders_looked_up += self._histories.count

    def note(self, events: Iterable[Any]) -> None:
        """Take events decided since, in order, while the findings are needed."""
        if self._histories is not None:
            self._histories.note(events)

    def forget(self) -> None:
        """Drop the findings."""
        self._histories = None

    async def wait_read(self) -> None:
        """Wait until the look-up has read what it needs."""
        if self._reading is not None:
            await asyncio.wait((self._reading,))

    async def close(self) -> None:
        """Stop reading."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self, histories: OrderHistories, number: int) -> None:
        """Read back from the last frame made before the look-up began. Events of later frames are
        noted as they are decided.
        """
        core = self._core
        in_flight = core.committer.in_flight()
        if in_flight is not None:
            await asyncio.wait((in_flight,))
        committer = core.committer
        frames = frames_back(
            core.ports.journal,
            core.key,
            sequence=committer.durable_sequence,
            hash=committer.durable_hash,
        )
        async for data in frames:
            header, start = decode_header(data)
            if header.number <= number:
                histories.read_back(memoryview(data)[start:])
            if histories.is_complete:
                break
            await asyncio.sleep(0)
        await frames.aclose()  # type: ignore[attr-defined]
        histories.finish()
        core.inputs.arrived.set()
