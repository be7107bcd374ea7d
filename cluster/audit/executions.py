"""P8: every execution counts once. The journal applied what the broker executed, id for id, and an
execution that is missing is on its way.
"""

import numpy as np
from numpy.typing import NDArray

from cluster.audit.followers_at_brokers import BrokerView, ExecutionGroup
from cluster.audit.intents import order_name
from cluster.audit.placement import BATCH_ROWS, distinct, ledger_ids
from cluster.audit.quarantined import are_quarantined
from cluster.audit.report import Check
from cluster.audit.resolved import are_of_resolved
from engine.history.gateways import Revocations
from engine.history.outcomes import Outcomes
from engine.history.sorting import repeated
from engine.history.storage import ColumnStorage, Ints, rows_where
from engine.values.order_ids import format_order_id
from engine.values.order_status import ENDS, ExecType
from gateways.brokers.ledger.ledger_reader import LedgerExecutions, LedgerReader

_COUNTED = (ExecType.TRADE, *ENDS)
_NONE = ExecutionGroup(np.zeros(0, np.int64), np.zeros(0, np.int64))


def check_applied(view: BrokerView, outcomes: Outcomes, check: Check) -> None:
    """Check the journal's own side: orders are known, none is filled beyond its quantity, and no
    execution id stands twice.
    """
    executions, orders, storage = view.executions, view.orders, view.tables.storage
    check.count("applied", executions.rows_count)
    check.count("refused", view.tables.refused_executions)
    lost = rows_where(storage, executions.rows_count, lambda here: outcomes.order_rows[here] < 0)
    if len(lost):
        check.fail(
            f"{_applied_name(view, int(lost[0]))}: expected its order in the journal, found none",
            len(lost),
        )
    for group in view.groups.values():
        again = repeated(group.numbers, group.rows, storage)
        if len(again):
            check.fail(
                f"{_applied_name(view, int(again.min()))}: expected "
                "it applied once, found it again",
                len(again),
            )
    over = rows_where(
        storage, orders.rows_count, lambda here: outcomes.filled[here] > orders.quantities[here]
    )
    if len(over):
        check.fail(
            f"{order_name(orders, int(over[0]))}: expected at most its quantity filled, found more",
            len(over),
        )


class ExecutionsAudit:
    """All executions of one broker's ledger."""

    def __init__(
        self,
        broker: str,
        views: dict[int, BrokerView],
        check: Check,
        storage: ColumnStorage,
        *,
        is_drained: bool,
    ) -> None:
        self._broker = broker
        self._views = views
        self._check = check
        self._is_drained = is_drained
        self._storage = storage
        self._confirmed: dict[int, int] = {}

    def run(self, ledger: LedgerReader) -> None:
        """Compare every execution that the ledger holds. Raises: LedgerError."""
        self._confirmed = ledger.confirmed()
        for batch in ledger.executions(BATCH_ROWS):
            for shard in distinct(batch.follower_shards):
                of_shard = (batch.follower_shards == shard) & np.isin(batch.exec_types, _COUNTED)
                for number, prefix in enumerate(batch.prefixes):
                    rows = np.flatnonzero(of_shard & (batch.prefix_of == number))
                    if len(rows):
                        self._compare(batch, shard, prefix, rows)
            self._storage.release()

    def _compare(self, batch: LedgerExecutions, shard: int, prefix: str, rows: Ints) -> None:
        self._check.count("at_brokers", len(rows))
        view = self._views.get(shard)
        if view is None:
            self._fail(batch, rows, "expected its follower shard to have a journal, found none")
            return
        group = view.groups.get((self._broker, prefix), _NONE)
        found = group.find(batch.numbers[rows])
        missing = rows[found < 0]
        quarantined = are_quarantined(
            view.quarantined, self._broker, prefix, batch.numbers[missing]
        )
        self._check.count("quarantined", int(quarantined.sum()))
        missing = missing[~quarantined]
        of_closed = self._end_what_is_closed(batch, view, prefix, missing)
        if of_closed.any():
            self._check.count("of_closed", int(of_closed.sum()))
        missing = missing[~of_closed]
        of_resolved = are_of_resolved(batch, view, missing)
        if of_resolved.any():
            self._check.count("of_resolved", int(of_resolved.sum()))
        self._check_missing(batch, view, group, missing[~of_resolved])
        rows, found = rows[found >= 0], found[found >= 0]
        view.is_met[found] = True
        for what, differs in _differences(batch, view, rows, found):
            if differs.any():
                self._fail(
                    batch,
                    rows[differs],
                    f"expected the {what} of the ledger in the journal, found another",
                )

    def _end_what_is_closed(
        self, batch: LedgerExecutions, view: BrokerView, prefix: str, rows: Ints
    ) -> NDArray[np.bool_]:
        """Return which executions only end orders that their last correction left closed here,
        whatever the broker said (DECISIONS.md, 17).
        """
        found = np.isin(batch.exec_types[rows], ENDS)
        corrected: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for each in view.tables.corrections:
            if (each.broker, each.prefix) == (self._broker, prefix):
                corrected.setdefault((each.high, each.low), []).append((each.number, each.leaves))
        if not corrected:
            return np.zeros(len(rows), np.bool_)
        highs, lows = ledger_ids(batch, rows)
        for at in np.flatnonzero(found).tolist():
            number = int(batch.numbers[rows[at]])
            before = [each for each in corrected.get((highs[at], lows[at]), []) if each[0] < number]
            found[at] = bool(before) and max(before)[1] == 0
        return found

    def _check_missing(
        self, batch: LedgerExecutions, view: BrokerView, group: ExecutionGroup, rows: Ints
    ) -> None:
        """Count executions that are still on their way, and report lost ones. A shard takes the
        numbers of a prefix in order.
        """
        if not len(rows):
            return
        numbers = batch.numbers[rows]
        last_applied = int(group.numbers[-1]) if len(group.numbers) else -1
        is_confirmed = numbers <= self._confirmed.get(view.tables.shard, -1)
        lost = (numbers < last_applied) | (is_confirmed & (not view.has_unread))
        if self._is_drained:
            lost[:] = True
        self._check.count("pending", int((~lost & is_confirmed).sum()))
        self._check.count("unconfirmed", int((~lost & ~is_confirmed).sum()))
        self._fail(batch, rows[lost], "expected it applied once, found it nowhere in the journal")

    def _fail(self, batch: LedgerExecutions, rows: Ints, what: str) -> None:
        if len(rows):
            row = int(rows[0])
            highs, lows = ledger_ids(batch, rows[:1])
            name = f"{batch.prefixes[int(batch.prefix_of[row])]}{int(batch.numbers[row])}"
            order = format_order_id(int(highs[0]), int(lows[0]))
            shard = int(batch.follower_shards[row])
            self._check.fail(
                f"execution {name} of broker {self._broker} on order "
                f"{order}, follower shard {shard}: {what}",
                len(rows),
            )


def _differences(
    batch: LedgerExecutions, view: BrokerView, rows: Ints, found: Ints
) -> list[tuple[str, NDArray[np.bool_]]]:
    executions = view.executions
    sections = executions.sections[found]
    highs, lows = ledger_ids(batch, rows)
    tails = lows & np.uint64(0xFFFFFFFF)
    is_other = (highs != executions.cause_highs[sections]) | (
        tails != executions.tails_of(sections)
    )
    is_other |= batch.subscriptions[rows] != executions.subscriptions[found]
    return [
        ("order", is_other),
        ("type", batch.exec_types[rows] != executions.exec_types[found]),
        ("quantity", batch.quantities[rows] != executions.quantities[found]),
        ("price", batch.prices[rows] != executions.prices[found]),
        ("fee", batch.fees[rows] != executions.fees[found]),
    ]


def check_revoked(
    broker: str, revocations: Revocations, view: BrokerView, check: Check, *, is_drained: bool
) -> None:
    """Compare a gateway's own reports with its journal: each revoked order ended once, as the
    journal has it.
    """
    shard = view.tables.shard
    group = view.groups.get((broker, f"{broker}-withdrawn-{shard}-"), _NONE)
    rows = np.flatnonzero((revocations.follower_shards == shard)[revocations.sections])
    found = group.find(revocations.numbers[rows])
    missing = rows[found < 0]
    missing = missing[
        ~are_quarantined(
            view.quarantined, broker, f"{broker}-withdrawn-{shard}-", revocations.numbers[missing]
        )
    ]
    last_applied = int(group.numbers[-1]) if len(group.numbers) else -1
    lost = (revocations.numbers[missing] < last_applied) | (not view.has_unread) | is_drained
    check.count("pending", int((~lost).sum()))
    if lost.any():
        row = int(missing[lost][0])
        name = format_order_id(int(revocations.highs[row]), int(revocations.lows[row]))
        check.fail(
            f"order {name}, revoked at broker {broker}: expected the report applied, found none",
            int(lost.sum()),
        )
    rows, found = rows[found >= 0], found[found >= 0]
    view.is_met[found] = True
    executions = view.executions
    highs, lows = executions.ids(found)
    differs = (revocations.highs[rows] != highs) | (revocations.lows[rows] != lows)
    differs |= revocations.exec_types[revocations.sections[rows]] != executions.exec_types[found]
    if differs.any():
        name = _applied_name(view, int(found[differs][0]))
        check.fail(
            f"{name}: expected what broker {broker}'s gateway journaled, found another",
            int(differs.sum()),
        )


def check_unknown(view: BrokerView, ledgers: frozenset[str], check: Check) -> None:
    """Check that every applied execution was met in a ledger, in a gateway's journal or in an
    operator's command, or ends an unresolved order. Brokers without a ledger here cannot be
    checked.
    """
    executions = view.executions
    has_ledger = np.array([broker in ledgers for broker in executions.brokers], np.bool_)
    unchecked = 0

    def are_unknown(here: slice) -> NDArray[np.bool_]:
        nonlocal unchecked
        of_ledger = has_ledger[executions.broker_of[executions.sections[here]]]
        unchecked += int((~view.is_met[here] & ~of_ledger).sum())
        unknown: NDArray[np.bool_] = ~view.is_met[here] & of_ledger
        return unknown

    unknown = rows_where(view.tables.storage, executions.rows_count, are_unknown)
    if unchecked:
        check.count("unchecked", unchecked)
    ended = _end_unresolved_orders(view, unknown)
    if ended.any():
        check.count("of_unresolved", int(ended.sum()))
        unknown = unknown[~ended]
    if len(unknown):
        check.fail(
            f"{_applied_name(view, int(unknown[0]))}: expected it "
            "in the broker's ledger, found none",
            len(unknown),
        )


def _end_unresolved_orders(view: BrokerView, rows: Ints) -> NDArray[np.bool_]:
    """Return which executions end unresolved orders, of which only an operator could say that the
    broker does not have them (P9).
    """
    orders = view.index.find(*view.executions.ids(rows))
    ends: NDArray[np.bool_] = (orders >= 0) & np.isin(view.executions.exec_types[rows], ENDS)
    ends[ends] = view.is_unresolved[orders[ends]] & (view.taken[orders[ends]] == 0)
    return ends


def _applied_name(view: BrokerView, row: int) -> str:
    executions = view.executions
    section = int(executions.sections[row])
    highs, lows = executions.ids(np.array([row]))
    order = format_order_id(int(highs[0]), int(lows[0]))
    return (
        f"execution {executions.exec_id(row)} of broker "
        f"{executions.brokers[int(executions.broker_of[section])]} on order {order},"
        f" follower shard {executions.shard}, frame {int(executions.frames[section])}"
    )
