"""The broker's side of an `EngineWorld`: reports on open orders, and corrections of trades.

Every report reaches the follower shard as an encoded block.
"""

from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from engine.follower.decide.check_correction import Rejected, Repeated
from engine.follower.decide.corrections import corrections_in_slices, decide_corrections
from engine.follower.decide.executions import Unmatched, decide_reports
from engine.follower.order_histories import OrderHistories
from engine.journal.frame import decode_header
from engine.messages.blocks import (
    CorrectionsReported,
    ExecutionsReported,
    decode_block,
    encode_block,
)
from engine.messages.commands import ResolveOrder
from engine.values.order_status import ExecType
from tests.engine.world.clock import WorldClock
from tests.engine.world.follower_side import BROKER, FollowerSide
from tests.engine.world.view import WorldView
from tests.reference.values import CANCELED, EXPIRED, REJECTED, Order

_EXEC_TYPES = {CANCELED: ExecType.CANCELED, EXPIRED: ExecType.EXPIRED, REJECTED: ExecType.REJECTED}


def _one(value: int) -> NDArray[np.int64]:
    return np.array([value], np.int64)


class BrokerSide:
    """One broker that numbers its executions."""

    def __init__(self, clock: WorldClock, followers: FollowerSide, view: WorldView) -> None:
        self._clock = clock
        self._followers = followers
        self._view = view
        self._executions_count = 0

    def execute(self, order: Order, quantity: int, price: int, *, fee: int = 0) -> None:
        """Fill some of an order."""
        assert not self.report(self.reported(order, ExecType.TRADE, quantity, price, fee))

    def end(self, order: Order, exec_type: str) -> None:
        """End an order with its remainder."""
        assert not self.report(self.reported(order, _EXEC_TYPES[exec_type]))

    def resolve(self, order: Order, quantity: int = 0, price: int = 0, *, fee: int = 0) -> None:
        """Let an operator say that some of an order was filled, or that it was canceled."""
        key, subscription = self._view.key_of(order)
        command = ResolveOrder(
            f"resolve-{self.next_execution()}",
            order.key.account,
            key.order_id(0, subscription),
            ExecType.TRADE if quantity else ExecType.CANCELED,
            quantity,
            price,
            fee,
            "the broker is silent",
        )
        self._followers.command([command])

    def reported(
        self, order: Order, exec_type: ExecType, quantity: int = 0, price: int = 0, fee: int = 0
    ) -> ExecutionsReported:
        """Make a report with the next execution id."""
        key, subscription = self._view.key_of(order)
        return ExecutionsReported(
            0,
            "x-",
            key,
            self._clock.time,
            _one(self.next_execution()),
            _one(subscription),
            _one(exec_type),
            _one(quantity),
            _one(price),
            _one(fee),
        )

    def next_execution(self) -> int:
        """Return the number of a new execution."""
        self._executions_count += 1
        return self._executions_count

    def report(self, report: ExecutionsReported) -> list[Unmatched]:
        """Let a message of reports arrive. Returns: what no order could take."""
        number = self._clock.next_input()
        (read,) = decode_block(encode_block(report))
        unmatched: list[Any] = []
        decided = decide_reports(self._followers.deciding, BROKER, read, number)
        self._followers.commit(self._followers.apply(decided, unmatched))
        return unmatched

    def report_all(self, reports: list[ExecutionsReported]) -> None:
        """Let reports on orders of one cause, leg and attempt arrive as one message."""
        names = ("numbers", "subscriptions", "exec_types", "quantities", "prices", "fees")
        columns: dict[str, Any] = {
            name: np.concatenate([getattr(report, name) for report in reports]) for name in names
        }
        assert not self.report(replace(reports[0], **columns))

    def is_about(self, report: ExecutionsReported, order: Order) -> bool:
        """Return whether a report is about an open order."""
        return (report.key, int(report.subscriptions[0])) == self._view.key_of(order)

    def correct(self, report: CorrectionsReported) -> list[str]:
        """Let trade cancels or corrections arrive. Returns: the reason of each rejection, and
        `repeated` for each that was applied before.
        """
        number = self._clock.next_input()
        (read,) = decode_block(encode_block(report))
        found: list[str] = []
        for part in corrections_in_slices(read, 1000):
            histories = self._histories(part)
            decided = decide_corrections(self._followers.deciding, BROKER, part, number, histories)
            answers: list[Any] = []
            self._followers.commit(self._followers.apply(decided, answers))
            for answer in answers:
                assert isinstance(answer, Rejected | Repeated)
                found.append(answer.refused.reason if isinstance(answer, Rejected) else "repeated")
        return found

    def _histories(self, report: CorrectionsReported) -> OrderHistories:
        """Read the orders' histories from the journal, newest frame first."""
        histories = OrderHistories()
        for subscription in report.subscriptions.tolist():
            histories.want(report.key, subscription)
        for frame in reversed(self._followers.journaled.frames):
            if histories.is_complete:
                break
            histories.read_back(memoryview(frame)[decode_header(frame)[1] :])
        histories.finish()
        return histories
