"""The history of one order: how it was placed, and every execution of it, the corrected ones too.

Hot state holds open orders only (P8). The history of any order is read from the shard's journal by
`engine.follower.order_histories`; brokers keep the same history of their own ledgers.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from engine.values.order_status import ExecType
from engine.values.order_terms import OrderTerms
from engine.values.refusals import Refused

_TRADES = (ExecType.TRADE, ExecType.TRADE_CORRECT)


class Placing(NamedTuple):
    """An order as it was placed, without its quantity. Orders of one key may differ in it."""

    creator_shard: int
    creator: int
    instrument: int
    terms: OrderTerms


class PastExecution(NamedTuple):
    """An execution that was applied. `reference` is the id of the execution that it cancelled or
    corrected, and empty for any other.
    """

    exec_id: str
    exec_type: int
    quantity: int
    price: int
    fee: int
    is_numbered: bool
    reference: str = ""


@dataclass(slots=True)
class OrderHistory:
    """One order. `executions` are in the order they were applied; `attempt_last` is the last
    attempt placed for its cause and leg.
    """

    placed: Placing | None = None
    quantity: int = 0
    attempt_last: int = 0
    executions: list[PastExecution] = field(default_factory=list)

    def has(self, exec_id: str) -> bool:
        """Return whether an execution was applied to the order."""
        return any(execution.exec_id == exec_id for execution in self.executions)

    def replaced_by(self, exec_id: str) -> PastExecution | None:
        """Find the execution that cancelled or corrected another."""
        return next((each for each in self.executions if each.reference == exec_id), None)

    def find(self, exec_id: str) -> PastExecution | None:
        """Find an execution."""
        return next((each for each in self.executions if each.exec_id == exec_id), None)

    @property
    def filled(self) -> int:
        """The quantity that its trades have filled, without those cancelled or corrected."""
        replaced = {each.reference for each in self.executions if each.reference}
        return sum(
            each.quantity
            for each in self.executions
            if each.exec_type in _TRADES and each.exec_id not in replaced
        )

    @property
    def unnumbered(self) -> list[str]:
        """The ids of its executions that have no number."""
        return [each.exec_id for each in self.executions if not each.is_numbered]


def find_corrected(history: OrderHistory, reference: str) -> PastExecution | Refused:
    """Find the trade that a correction refers to: a trade that still counts."""
    found, replaced = history.find(reference), history.replaced_by(reference)
    if found is None:
        return Refused(
            "unknown_execution",
            f"exec_ref_id: expected a trade on this order, found none named {reference}",
        )
    if found.exec_type not in _TRADES:
        kind = ExecType(found.exec_type).name.lower()
        return Refused(
            "not_a_trade", f"exec_ref_id: expected a trade or its correction, found a {kind}"
        )
    if replaced is None:
        return found
    if replaced.exec_type == ExecType.TRADE_CANCEL:
        return Refused(
            "already_canceled",
            f"exec_ref_id: expected a trade that counts, found it cancelled by {replaced.exec_id}",
        )
    return Refused(
        "already_corrected",
        f"exec_ref_id: expected its latest correction, {replaced.exec_id}, found {reference}",
    )
