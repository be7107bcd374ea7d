"""Steps of a story in which the broker cancels or corrects trades (P7, P8)."""

import numpy as np

from engine.columns.state import state_hash
from engine.messages.blocks import CorrectionsReported, exec_id_of
from engine.values.order_status import ExecType
from tests.engine.stories.broker_steps import BrokerSteps, Traded
from tests.engine.stories.pair import Pair
from tests.engine.stories.setting import Step
from tests.reference.corrections import correct


class CorrectionSteps:
    """The corrections that were applied so far, and the steps that add to them."""

    def __init__(self, pair: Pair, broker_steps: BrokerSteps) -> None:
        self._engine = pair.engine
        self._reference = pair.reference
        self._setting = pair.setting
        self._broker = pair.engine.broker_side
        self._broker_steps = broker_steps
        self.corrections: list[CorrectionsReported] = []

    def correct(self, step: Step) -> None:
        """Cancel or correct some trade, cancel or correction of whenever, or one that never was;
        sometimes say it twice.
        """
        if not self._broker_steps.traded:
            return
        # The newest are corrected most: those of open orders, and corrections of corrections.
        back = step.a % (1 + min(len(self._broker_steps.traded), (2, 5, 1000)[step.b % 3]))
        meant = self._broker_steps.traded[max(len(self._broker_steps.traded) - 1 - back, 0)]
        placing = self._reference.book.orders.placings[meant.key]
        if placing.subscription is not self._reference.book.subscription(meant.key):
            return
        is_cancel = step.b % 2 == 0
        report = self._correction(meant, placing.order.quantity, is_cancel=is_cancel, step=step)
        quantity, price, fee = (
            int(column[0]) for column in (report.quantities, report.prices, report.fees)
        )
        name = exec_id_of(report.prefix, int(report.numbers[0]))
        expected = correct(
            self._reference.book,
            meant.key,
            exec_id_of(report.reference_prefix, int(report.reference_numbers[0])),
            exec_id=name,
            quantity=quantity,
            price=price,
            fee=fee,
            leaves=int(report.leaves[0]),
            is_cancel=is_cancel,
        )
        before = state_hash(self._engine.followers.live.columns())
        assert self._broker.correct(report) == ([expected] if expected else [])
        if expected:
            assert state_hash(self._engine.followers.live.columns()) == before
        else:
            self._broker_steps.traded.append(Traded(meant.report, name, meant.key))
            self.corrections.append(report)

    def _correction(
        self, meant: Traded, order_quantity: int, *, is_cancel: bool, step: Step
    ) -> CorrectionsReported:
        own, old = self._broker.next_execution(), meant.report
        said = int(old.quantities[0])
        quantity = (said, said + 1, said // 2 + 1, max(said - 1, 1), order_quantity)[step.c % 5]
        price = max(int(old.prices[0]) + (0, 1, -1, self._setting.price // 9)[step.c // 5 % 4], 1)
        numbered = step.c % 3 > 0
        leaves = (0, 0, 1, order_quantity, order_quantity // 2, said)[step.c // 20 % 6]
        column = [0, 0, 0] if is_cancel else [quantity, price, step.c % 7]
        reference = "never" if step.a % 23 == 0 else meant.exec_id
        return CorrectionsReported(
            0,
            "x-" if numbered else f"x-{own}",
            reference,
            old.key,
            self._engine.clock.time,
            np.array([own if numbered else -1]),
            np.array([-1]),
            old.subscriptions,
            np.array([ExecType.TRADE_CANCEL if is_cancel else ExecType.TRADE_CORRECT]),
            np.array(column[:1]),
            np.array(column[1:2]),
            np.array(column[2:]),
            np.array([leaves]),
        )

    def correct_again(self, step: Step) -> None:
        """Let an earlier cancel or correction come again: it counts once (P8)."""
        if self.corrections:
            before = state_hash(self._engine.followers.live.columns())
            report = self.corrections[step.a % len(self.corrections)]
            assert self._broker.correct(report) == ["repeated"]
            assert state_hash(self._engine.followers.live.columns()) == before
