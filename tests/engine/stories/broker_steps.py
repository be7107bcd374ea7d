"""Steps of a story at the broker: executions, ends of orders, repeats and late reports (P8)."""

from typing import NamedTuple

import msgspec
import numpy as np

from engine.columns.state import state_hash
from engine.messages.blocks import ExecutionsReported, exec_id_of
from engine.values.order_status import ExecType
from tests.engine.stories.pair import Pair, comparable, sorted_orders
from tests.engine.stories.setting import Step
from tests.reference.values import CANCELED, EXPIRED, REJECTED, TRADE, Order, OrderKey

_WORDS = {
    ExecType.TRADE: TRADE,
    ExecType.CANCELED: CANCELED,
    ExecType.EXPIRED: EXPIRED,
    ExecType.REJECTED: REJECTED,
}


class Traded(NamedTuple):
    """A trade, trade cancel or trade correct that a later correction may refer to: its report, and
    its order's key in the reference.
    """

    report: ExecutionsReported
    exec_id: str
    key: OrderKey


class BrokerSteps:
    """The broker's reports so far, and the steps that add to them."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self._engine = pair.engine
        self._reference = pair.reference
        self._setting = pair.setting
        self._broker = pair.engine.broker_side
        self.reports: list[ExecutionsReported] = []
        self.traded: list[Traded] = []

    def trade(self, step: Step) -> None:
        """Fill some of an open order, or all of it."""
        picked = self._pair.pick(step.a)
        if picked is None:
            return
        order = picked[0]
        quantity = (
            order.remaining if step.b % 2 else max(order.remaining * (1 + step.b % 10) // 11, 1)
        )
        price = max(
            order.price + (0, 0, 1, -1, order.price // 200, -order.price // 10)[step.c % 6], 1
        )
        fee = (0, 0, 1, self._setting.price // 100)[step.c // 6 % 4]
        self._report(picked, ExecType.TRADE, quantity, price, fee, is_numbered=step.c % 5 > 0)

    def end(self, step: Step) -> None:
        """End an open order with its remainder."""
        picked = self._pair.pick(step.a)
        if picked is not None:
            exec_type = (ExecType.CANCELED, ExecType.EXPIRED, ExecType.REJECTED)[step.b % 3]
            self._report(picked, exec_type, is_numbered=step.c % 5 > 0)

    def resolve(self, step: Step) -> None:
        """Let an operator say what became of an open order, twice (P8)."""
        picked = self._pair.pick(step.a)
        if picked is None:
            return
        mine, theirs = picked
        quantity = (0, mine.remaining, max(mine.remaining // 3, 1))[step.b % 3]
        price = max(mine.price + step.c % 3 - 1, 1) if quantity else 0
        fee = step.c % 5 if quantity else 0
        self._engine.resolve(mine, quantity, price, fee=fee)
        self._reference.resolve(theirs, quantity, price, fee=fee)

    def answer_cancels(self, step: Step) -> None:
        """Answer what waits for a cancel, some by a fill that came first."""
        while True:
            cancelling = [
                order.is_cancelling for order in sorted_orders(self._engine.open_orders())
            ]
            if True not in cancelling:
                return
            picked = self._pair.pick(cancelling.index(True))
            assert picked is not None
            if step.a % 3:
                self._report(picked, ExecType.CANCELED)
            else:
                self._report(picked, ExecType.TRADE, picked[0].remaining, picked[0].price)

    def _report(
        self,
        picked: tuple[Order, Order],
        exec_type: ExecType,
        quantity: int = 0,
        price: int = 0,
        fee: int = 0,
        *,
        is_numbered: bool = True,
    ) -> None:
        report = self._broker.reported(picked[0], exec_type, quantity, price, fee)
        if not is_numbered:
            report = msgspec.structs.replace(
                report, prefix=f"{report.prefix}{report.numbers[0]}", numbers=np.array([-1])
            )
        assert not self._broker.report(report)
        self._mirror(report, picked[1].key)

    def _mirror(self, report: ExecutionsReported, key: OrderKey) -> None:
        """Let the reference have what the engine was reported."""
        quantity, price, fee = int(report.quantities[0]), int(report.prices[0]), int(report.fees[0])
        exec_type, name = (
            ExecType(int(report.exec_types[0])),
            exec_id_of(report.prefix, int(report.numbers[0])),
        )
        self._reference.book.execution(
            key, _WORDS[exec_type], quantity=quantity, price=price, fee=fee, exec_id=name
        )
        self.reports.append(report)
        if exec_type is ExecType.TRADE:
            self.traded.append(Traded(report, name, key))

    def trade_many(self, step: Step) -> None:
        """Report on all orders of one cause, leg and attempt in one message, each twice: some now,
        then the rest.
        """
        picked = self._pair.pick(step.a)
        if picked is None:
            return
        key, price = picked[0].key, max(picked[0].price + step.c % 3 - 1, 1)
        reports = []
        for order in self._engine.open_orders():
            if order.key._replace(account="", creator=key.creator) != key._replace(account=""):
                continue
            some = order.remaining * (1 + step.b % 7) // 8
            parts = [
                (ExecType.TRADE, part, price) for part in (some, order.remaining - some) if part
            ]
            if step.b % 5 == 0:
                parts[-1] = ((ExecType.CANCELED, 0, 0), (ExecType.EXPIRED, 0, 0))[step.c % 2]
            for exec_type, quantity, at in parts:
                reports.append((order, self._broker.reported(order, exec_type, quantity, at)))
        reports.sort(key=lambda item: (int(item[1].subscriptions[0]), int(item[1].numbers[0])))
        self._broker.report_all([report for _, report in reports])
        theirs = {
            (comparable(order).key, order.symbol): order.key
            for order in self._reference.open_orders()
        }
        for order, report in reports:
            self._mirror(report, theirs[comparable(order).key, order.symbol])

    def repeat(self, step: Step) -> None:
        """Let an earlier report come again. It counts once; an execution without a number that no
        order knows is handed back (P8).
        """
        if not self.reports:
            return
        report = self.reports[step.a % len(self.reports)]
        before = state_hash(self._engine.followers.live.columns())
        unmatched = self._broker.report(report)
        assert not unmatched or report.numbers[0] < 0, "a numbered execution is known by its number"
        assert state_hash(self._engine.followers.live.columns()) == before

    def late(self, step: Step) -> None:
        """Report under a new id on an order that is closed, or more than is left of an open one:
        handed back, not applied (P8).
        """
        before = state_hash(self._engine.followers.live.columns())
        picked = self._pair.pick(step.a)
        if picked is not None and step.b % 2:
            report = self._broker.reported(picked[0], ExecType.TRADE, picked[0].remaining + 1, 1)
        elif self.reports:
            report = self.reports[step.a % len(self.reports)]
            report = msgspec.structs.replace(report, prefix="late-", numbers=np.array([step.a]))
            if any(self._broker.is_about(report, order) for order in self._engine.open_orders()):
                return
        else:
            return
        assert self._broker.report(report)
        assert state_hash(self._engine.followers.live.columns()) == before
