"""Reports on whole groups: every order of a group traded, and nothing follows from it.

Nearly every message of a broker is of this kind, so many are decided in one pass. Whatever is
otherwise is decided by the rules for single rows (`engine.follower.decide.executions`).
"""

from collections.abc import Iterable, Sequence
from typing import Any

from engine.columns.reductions import all_of, is_rising, least, most
from engine.follower.book import joined
from engine.follower.decide.check_reports import are_plausible
from engine.follower.order_group import OrderGroup
from engine.follower.sizing.batch import BatchBuilder
from engine.follower.state import FollowerState
from engine.journal.events.orders import ExecutionsApplied
from engine.messages.blocks import ExecutionsReported
from engine.values.order_status import ExecType
from engine.values.units import MONEY_MAX, PRICE_MAX, QUANTITY_ONE

CASH_MAX = 1 << 60
"""Beyond it no execution is applied: the next one must stay within 64 bits whatever it says."""
_TRADE = int(ExecType.TRADE)


def decide_batch(
    state: FollowerState, broker: str, reports: Sequence[ExecutionsReported], sequence: int
) -> list[ExecutionsApplied] | None:
    """Decide reports about different books at once, where each trades a whole group and nothing
    follows from that. Returns: None when one does not; they are then decided one after the other.
    """
    groups = find_traded_whole(state, broker, reports)
    if groups is None or any(
        group.slot.follow_ups or not group.book.summary.is_active for group in groups
    ):
        return None
    return [applied(broker, report, sequence) for report in reports]


def next_batch(state: FollowerState, reports: Iterable[Any]) -> list[ExecutionsReported]:
    """Return the first reports that may be decided in one pass: each of numbered executions and
    about another book.
    """
    batch: BatchBuilder[ExecutionsReported] = BatchBuilder()
    for report in reports:
        if not isinstance(report, ExecutionsReported):
            break
        groups = state.orders.of_key(report.key)
        rows = len(report.subscriptions)
        if (
            len(groups) != 1
            or len(groups[0].rows) != rows
            or not batch.has_room(groups[0].book, rows)
        ):
            break
        batch.add(groups[0].book, rows, report)
    return batch.take()


def find_traded_whole(
    state: FollowerState, broker: str, reports: Sequence[ExecutionsReported]
) -> list[OrderGroup] | None:
    """Find the groups whose orders these reports are about, each order traded once, all new and
    within what is left. Returns: None when anything is otherwise.

    Cost: `latency`, `sustained`.
    """
    prefix = reports[0].prefix
    if state.brokers != [broker] or any(
        report.prefix != prefix or not len(report.subscriptions) for report in reports
    ):
        return None
    numbers = joined([report.numbers for report in reports])
    if int(numbers[0]) < 0 or not is_rising(numbers):
        return None
    if not state.execution_ids.is_after_all(broker, prefix, int(numbers[0])):
        return None
    if not all_of(joined([report.exec_types for report in reports]) == _TRADE):
        return None
    groups = state.orders.find_all_exact(
        [report.key for report in reports], [report.subscriptions for report in reports]
    )
    return groups if groups is not None and _fit_whole(groups, reports) else None


def _fit_whole(groups: Sequence[OrderGroup], reports: Sequence[ExecutionsReported]) -> bool:
    """Return whether every row is within its order and in range."""
    quantities = joined([report.quantities for report in reports])
    prices = joined([report.prices for report in reports])
    fees = joined([report.fees for report in reports])
    if least(quantities) <= 0 or not all_of(joined([group.is_open for group in groups])):
        return False
    if least(prices) <= 0 or most(prices) > PRICE_MAX or max(most(fees), -least(fees)) > MONEY_MAX:
        return False
    if most(quantities) * most(prices) > MONEY_MAX * QUANTITY_ONE:
        return False
    least_notional = least(quantities) * least(prices) // QUANTITY_ONE
    terms, counts = [group.terms for group in groups], [len(group.rows) for group in groups]
    if not are_plausible(terms, counts, prices, fees, least_notional):
        return False
    cash = joined([group.book.subscriptions.money(group.span) for group in groups])[0]
    if most(cash) > CASH_MAX or least(cash) < -CASH_MAX:
        return False
    leaves = joined([group.quantity for group in groups]) - joined(
        [group.filled for group in groups]
    )
    return all_of(quantities <= leaves)


def applied(broker: str, report: ExecutionsReported, sequence: int) -> ExecutionsApplied:
    """Return the event that applies a report. `sequence` is its message's."""
    return ExecutionsApplied(
        sequence,
        broker,
        report.prefix,
        report.key,
        report.transact_time,
        report.numbers,
        report.subscriptions,
        report.exec_types,
        report.quantities,
        report.prices,
        report.fees,
    )
