"""P8 for trade cancels and corrections: each reverses a trade that counted, does so once, and
agrees with the broker's ledger.
"""

from cluster.audit.followers_at_brokers import BrokerView
from cluster.audit.report import Check
from engine.history.corrected_outcomes import stories
from engine.history.corrections import AppliedCorrection
from engine.history.outcomes import Outcomes, rows_of_corrections
from engine.messages.blocks import CorrectionsReported, exec_id_of
from engine.values.order_ids import format_order_id
from gateways.brokers.ledger.ledger_reader import LedgerReader


def check_corrected(view: BrokerView, outcomes: Outcomes, check: Check) -> None:
    """Check the journal's own side: every correction fits the executions before it and has an id of
    its own.
    """
    corrections = view.tables.corrections
    if not corrections:
        return
    check.count("corrected", len(corrections))
    rows = rows_of_corrections(view.index, corrections)
    for row, correction in zip(rows, corrections, strict=True):
        if row < 0:
            check.fail(f"{_name(view, correction)}: expected its order in the journal, found none")
    seen: set[tuple[str, str]] = set()
    for correction in corrections:
        name = correction.broker, correction.exec_id
        if name in seen:
            check.fail(f"{_name(view, correction)}: expected it applied once, found it again")
        seen.add(name)
    placed = [(row, each) for row, each in zip(rows, corrections, strict=True) if row >= 0]
    told = stories(
        outcomes.order_rows, view.orders.quantities, view.executions, placed, view.tables.storage
    )
    for row, story in told.items():
        for fault in story.faults:
            check.fail(f"{_name(view, next(each for at, each in placed if at == row))}: {fault}")


class CorrectionsAudit:
    """All corrections of one broker's ledger, compared with those that the journals applied."""

    def __init__(
        self, broker: str, views: dict[int, BrokerView], check: Check, *, is_drained: bool
    ) -> None:
        self._broker = broker
        self._views = views
        self._check = check
        self._is_drained = is_drained
        self._applied = {
            (shard, each.exec_id): each
            for shard, view in views.items()
            for each in view.tables.corrections
            if each.broker == broker
        }

    def run(self, ledger: LedgerReader) -> None:
        """Compare ledger and journals. Raises: LedgerError."""
        confirmed = ledger.confirmed()
        for section in ledger.corrections():
            for row, number in enumerate(section.numbers.tolist()):
                shard, name = section.follower_shard, exec_id_of(section.prefix, number)
                self._check.count("corrected_at_brokers")
                found = self._applied.pop((shard, name), None)
                if found is not None:
                    self._compare(section, row, found, shard, name)
                elif self._is_lost(shard, number <= confirmed.get(shard, -1)):
                    self._fail(
                        shard, name, "expected it applied once, found it nowhere in the journal"
                    )
                else:
                    self._check.count("pending")
        for shard, name in self._applied:
            self._fail(shard, name, "expected it in the broker's ledger, found none")

    def _is_lost(self, shard: int, is_confirmed: bool) -> bool:
        view = self._views.get(shard)
        return self._is_drained or view is None or (is_confirmed and not view.has_unread)

    def _compare(
        self,
        section: CorrectionsReported,
        row: int,
        found: AppliedCorrection,
        shard: int,
        name: str,
    ) -> None:
        high = section.key.high(shard)
        low = section.key.low(int(section.subscriptions[row]))
        columns = (section.exec_types, section.quantities, section.prices, section.fees)
        says = (
            *(int(column[row]) for column in columns),
            exec_id_of(section.reference_prefix, int(section.reference_numbers[row])),
        )
        applied = found.exec_type, found.quantity, found.price, found.fee, found.reference
        if (high, low) != (found.high, found.low):
            self._fail(
                shard, name, "expected the order of the ledger in the journal, found another"
            )
        if says != applied:
            self._fail(shard, name, "expected what the ledger says in the journal, found another")

    def _fail(self, shard: int, name: str, what: str) -> None:
        self._check.fail(
            f"correction {name} of broker {self._broker}, follower shard {shard}: {what}"
        )


def _name(view: BrokerView, correction: AppliedCorrection) -> str:
    order = format_order_id(correction.high, correction.low)
    return (
        f"correction {correction.exec_id} of broker {correction.broker} on order {order},"
        f" follower shard {view.tables.shard}, frame {correction.frame}"
    )
