"""The paper broker's venue: it fills orders at their mark, by rules, and corrects trades on
request.

Orders are filled at once, or stay open for `fill_delay_ms` before each slice. `fill_rules` computes
prices, fees and rejections; `open_orders` keeps what is open.
"""

import numpy as np

from engine.columns.section_types import Section
from engine.messages.blocks import CancelsSubmitted, ExecutionsReported, Report
from engine.values.order_ids import orders_by_key
from engine.values.order_status import ExecType
from engine.values.refusals import Refused
from gateways.brokers.ledger.records import CorrectionTaken, OrdersReopened, OrdersTaken
from gateways.brokers.ledger.seen import key_of, order_key
from gateways.brokers.paper.corrections import (
    CorrectionAsked,
    TradedOrder,
    corrected_by,
    reopened_order,
)
from gateways.brokers.paper.fill_rules import (
    fees_micros,
    fill_price,
    rejected_by_count,
    rejected_by_ratio,
)
from gateways.brokers.paper.open_orders import OpenBatch, OpenBatches
from gateways.brokers.paper.settings import FillSettings
from gateways.brokers.program.reports import ExecutionCorrection, OrdersOutcome, no_trade
from gateways.brokers.program.turn import Turn

_NS_PER_MS = 1_000_000


class PaperVenue:
    """Implements `Venue`. Orders that are open are all that it remembers."""

    def __init__(self, settings: FillSettings) -> None:
        self._settings = settings
        self._open = OpenBatches()
        self._placed_count = 0

    def place(self, orders: OrdersTaken, now_ns: int, turn: Turn) -> None:
        """Fill orders at once, or keep them open until they are due."""
        batch = self._batch(orders, now_ns)
        self._reject_some(batch, now_ns, turn)
        self._placed_count += len(orders.subscriptions)
        if self._settings.fill_delay_ms:
            if not batch.is_done:
                self._open.add(batch)
            return
        while not batch.is_done:
            self._execute(batch, now_ns, turn)

    def cancel(self, cancels: CancelsSubmitted, event_time: int, now_ns: int, turn: Turn) -> None:
        """Cancel what is open."""
        if not self._open:
            return
        time_ns = event_time if self._settings.clock == "event" else now_ns
        for coordinates, subscriptions in orders_by_key(cancels):
            key = order_key(cancels.follower_shard, *coordinates)
            for batch in self._open.of_key(key):
                ended = batch.close_open(subscriptions)
                turn.report(batch.taken, no_trade(ExecType.CANCELED, ended, time_ns))
            self._open.drop_done(key)

    def advance(self, now_ns: int, turn: Turn) -> None:
        """Execute every open order that is due."""
        for batch in self._open.take_due(now_ns):
            self._execute(batch, now_ns, turn)
            if not batch.is_done:
                batch.due_ns = self._due_ns(batch.taken, now_ns)
                self._open.schedule(batch)
            self._open.drop_done(batch.key)
            if turn.is_full:
                break

    def next_due_ns(self) -> int | None:
        """Return when the next open order is due, None when nothing is open."""
        return self._open.next_due_ns()

    def remaining_of(self, key: int, subscription: int) -> int:
        """Return how much of an order is open."""
        return self._open.remaining_of(key, subscription)

    def correct(
        self, asked: CorrectionAsked, order: TradedOrder | None, now_ns: int, turn: Turn
    ) -> str | Refused:
        """Cancel or correct a trade of an order found in the ledger. Returns: the execution's id,
        for after the next commit.
        """
        if order is None:
            return Refused(
                "unknown_execution",
                f"exec_ref_id: expected an execution of this broker, found {asked.exec_ref_id}",
            )
        trade = corrected_by(asked, order)
        if isinstance(trade, Refused):
            return trade
        taken = order.taken
        more = max(trade.quantity - asked.quantity, 0) if asked.is_reopened else 0
        remaining = self._open.remaining_of(key_of(taken), order.subscription)
        if remaining and asked.quantity > trade.quantity:
            return Refused(
                "overfill",
                "last_qty: expected no more than the trade's while its order is open, found more",
            )
        values = (asked.exec_type, asked.exec_ref_id, asked.quantity, asked.price, asked.fee)
        turn.record(CorrectionTaken(*values, int(asked.is_reopened), now_ns))
        correction = ExecutionCorrection(*values, remaining + more, self._clock_ns(taken, now_ns))
        exec_id = turn.correct(taken, order.subscription, correction)
        if more:
            reopened = reopened_order(taken, order.row, more, now_ns)
            turn.record(reopened)
            self._reopen(reopened, is_live=True)
        return exec_id

    def replay_record(self, record: Section) -> None:
        """Take orders read back from the ledger, and orders that work again."""
        if isinstance(record, OrdersReopened):
            self._reopen(record, is_live=False)
        elif isinstance(record, OrdersTaken):
            self._open.keep(self._batch(record, record.taken_time))
            self._placed_count += len(record.subscriptions)

    def replay_report(self, report: Report) -> None:
        """Take executions read back from the ledger off what is open. Corrections reopen orders by
        a record of their own.
        """
        if isinstance(report, ExecutionsReported):
            self._open.apply_report(
                key_of(report), report.subscriptions, report.exec_types, report.quantities
            )

    def replay_ended(self) -> None:
        """Note when each open order is due."""
        self._open.schedule_all()

    def _batch(self, orders: OrdersTaken, since_ns: int) -> OpenBatch:
        slices = self._settings.partial_fill_slices
        return OpenBatch(orders, slices, self._due_ns(orders, since_ns))

    def _reopen(self, reopened: OrdersReopened, *, is_live: bool) -> None:
        batch = OpenBatch(reopened, 1, self._due_ns(reopened, reopened.taken_time))
        if self._open.reopen(batch) and is_live:
            self._open.schedule(batch)

    def _reject_some(self, batch: OpenBatch, now_ns: int, turn: Turn) -> None:
        settings, taken = self._settings, batch.taken
        chosen = np.zeros(len(taken.subscriptions), np.bool_)
        if settings.reject_every_n:
            chosen |= rejected_by_count(self._placed_count, len(chosen), settings.reject_every_n)
        if settings.reject_ratio_micros:
            chosen |= rejected_by_ratio(
                batch.key, taken.subscriptions, settings.reject_ratio_micros, settings.reject_seed
            )
        if chosen.any():
            subscriptions = batch.close_open(taken.subscriptions[chosen])
            time_ns = self._clock_ns(taken, now_ns)
            turn.report(
                taken, no_trade(ExecType.REJECTED, subscriptions, time_ns, "rejected as configured")
            )

    def _execute(self, batch: OpenBatch, now_ns: int, turn: Turn) -> None:
        """Fill one slice, or let everything open expire."""
        taken, settings = batch.taken, self._settings
        time_ns = self._clock_ns(taken, now_ns)
        price = fill_price(taken.side, taken.price, taken.limit_price, settings.slippage_micros)
        if price is None or (taken.expire_time and time_ns >= taken.expire_time):
            text = "the limit does not allow the mark" if price is None else "expired"
            turn.report(taken, no_trade(ExecType.EXPIRED, batch.close_open(), time_ns, text))
            return
        rows, quantities = batch.next_slice()
        fees = fees_micros(quantities, price, settings.fee_rate_micros)
        subscriptions = (
            taken.subscriptions
            if len(rows) == len(taken.subscriptions)
            else taken.subscriptions[rows]
        )
        outcome = OrdersOutcome(ExecType.TRADE, subscriptions, quantities, price, fees, time_ns)
        turn.report(taken, outcome)

    def _clock_ns(self, taken: OrdersTaken, now_ns: int) -> int:
        if self._settings.clock == "wall":
            return now_ns
        return taken.event_time + self._settings.fill_delay_ms * _NS_PER_MS

    def _due_ns(self, taken: OrdersTaken, since_ns: int) -> int:
        due_ns = since_ns + self._settings.fill_delay_ms * _NS_PER_MS
        if self._settings.clock == "wall" and taken.expire_time:
            due_ns = min(due_ns, max(taken.expire_time, since_ns))
        return due_ns
