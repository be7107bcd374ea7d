"""Published executions by order, read as Lockstep reads them."""

from collections.abc import Iterator
from typing import NamedTuple

from actors.errors import BadInputError
from engine.messages.blocks import CorrectionsReported, Report, exec_id_of
from engine.values.order_ids import OrderId
from engine.values.order_status import CORRECTIONS, ENDS, ExecType
from gateways.brokers.acceptance.history import History
from gateways.brokers.acceptance.program import PublishedMessage
from gateways.json.format import JsonFormat


class PublishedExecution(NamedTuple):
    """One execution as published. Units: quantity 1e-8, price and fee micros, time ns."""

    subject: str
    order: OrderId
    exec_id: str
    exec_type: ExecType
    quantity: int
    price: int
    fee: int
    transact_time: int
    reference: str = ""
    """The execution that a correction means, else empty."""


def _executions(subject: str, section: Report) -> Iterator[PublishedExecution]:
    for row, subscription in enumerate(section.subscriptions.tolist()):
        reference = ""
        if isinstance(section, CorrectionsReported):
            number = int(section.reference_numbers[row])
            reference = exec_id_of(section.reference_prefix, number)
        yield PublishedExecution(
            subject,
            section.key.order_id(section.follower_shard, subscription),
            exec_id_of(section.prefix, int(section.numbers[row])),
            ExecType(int(section.exec_types[row])),
            int(section.quantities[row]),
            int(section.prices[row]),
            int(section.fees[row]),
            section.transact_time,
            reference,
        )


class OrderReport:
    """The executions of one order, each once, however often it was published."""

    def __init__(self) -> None:
        self.executions: dict[str, PublishedExecution] = {}

    @property
    def trades(self) -> list[PublishedExecution]:
        """The trades that count: those not taken back or corrected, and the corrections."""
        replaced = {each.reference for each in self.executions.values()}
        return [
            each
            for each in self.executions.values()
            if each.exec_type in (ExecType.TRADE, ExecType.TRADE_CORRECT)
            and each.exec_id not in replaced
        ]

    @property
    def filled(self) -> int:
        """The quantity filled, 1e-8."""
        return sum(each.quantity for each in self.trades)

    @property
    def ends(self) -> list[PublishedExecution]:
        """The executions that end the order without filling it."""
        return [each for each in self.executions.values() if each.exec_type in ENDS]

    @property
    def is_corrected(self) -> bool:
        """True when a trade was taken back or corrected, after which an order may work again."""
        return any(each.exec_type in CORRECTIONS for each in self.executions.values())


class Reported:
    """Everything published. It is read as it arrives, and what is wrong with it is kept."""

    def __init__(self, history: History) -> None:
        self.orders: dict[OrderId, OrderReport] = {}
        self.unreadable: list[str] = []
        """Why Lockstep could not read messages."""
        self.conflicts: list[str] = []
        """Execution ids that stand for two executions of one account."""
        self._history = history
        self._named: dict[tuple[int, int, str], PublishedExecution] = {}
        self._read_count = 0

    def read(self, stored: list[PublishedMessage]) -> None:
        """Read the messages behind those already read."""
        for message in stored[self._read_count :]:
            try:
                for section in JsonFormat().reports(message.subject, message.data):
                    for execution in _executions(message.subject, section):
                        self._add(execution)
            except BadInputError as error:
                self.unreadable.append(f"{message.subject}: {error}")
        self._read_count = len(stored)

    def _add(self, execution: PublishedExecution) -> None:
        order = execution.order
        terms = self._history.terms.get(order)
        if terms is not None:
            key = order.shard, terms.account, execution.exec_id
            known = self._named.setdefault(key, execution)
            if known != execution:
                self.conflicts.append(f"{known} and {execution}")
        report = self.orders.setdefault(order, OrderReport())
        report.executions.setdefault(execution.exec_id, execution)
