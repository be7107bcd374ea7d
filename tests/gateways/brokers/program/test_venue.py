"""The program with a venue that is not the paper broker: it sends orders elsewhere, as a FIX
program would, and reports what comes back.
"""

import numpy as np

from engine.columns.section_types import Section
from engine.messages.blocks import (
    CancelsSubmitted,
    CorrectionsReported,
    ExecutionsReported,
    decode_block,
)
from engine.values.order_status import ExecType
from gateways.brokers.ledger.ledger import MemoryLedger
from gateways.brokers.ledger.records import OrdersTaken
from gateways.brokers.program.core import ProgramCore
from gateways.brokers.program.reports import ExecutionCorrection, OrdersOutcome, no_trade
from gateways.brokers.program.settings import ProgramSettings
from gateways.brokers.program.turn import Turn, TurnResult
from gateways.brokers.program.venue import Venue
from tests.gateways.brokers.builders import (
    EVENT_TIME,
    MARK,
    SHARES_10,
    accounts,
    answer,
    block,
    cancels,
    orders,
)

NOW = EVENT_TIME


class RoutingVenue:
    """Sends orders in the turn after they became durable, and again after a restart unless a report
    says that the exchange has them.
    """

    def __init__(self) -> None:
        self.waiting: list[OrdersTaken] = []
        self.sent: list[OrdersTaken] = []
        self.canceled: list[int] = []

    def place(self, orders: OrdersTaken, now_ns: int, turn: Turn) -> None:
        self.waiting.append(orders)

    def cancel(self, cancels: CancelsSubmitted, event_time: int, now_ns: int, turn: Turn) -> None:
        self.canceled += cancels.subscriptions.tolist()

    def advance(self, now_ns: int, turn: Turn) -> None:
        """Send what waited when the turn before ended; what this turn placed is not durable yet."""
        durable = [each for each in self.waiting if each.taken_time < now_ns]
        self.waiting = [each for each in self.waiting if each.taken_time >= now_ns]
        for each in durable:
            turn.report(each, no_trade(ExecType.NEW, each.subscriptions, now_ns))
        self.sent += durable

    def next_due_ns(self) -> int | None:
        return 0 if self.waiting else None

    def replay_record(self, record: Section) -> None:
        if isinstance(record, OrdersTaken):
            self.waiting.append(record)

    def replay_report(self, report: ExecutionsReported | CorrectionsReported) -> None:
        self.waiting = [
            each for each in self.waiting if each.key.cause_number != report.key.cause_number
        ]

    def replay_ended(self) -> None:
        """Nothing to do: `advance` sends what waits."""


def core_on(ledger: MemoryLedger, venue: Venue) -> ProgramCore:
    return ProgramCore(ProgramSettings(name="acme"), ledger, venue, new_ledger_id="one")


def end(core: ProgramCore, ledger: MemoryLedger) -> TurnResult:
    result = core.end_turn()
    ledger.append(result.frame)
    core.committed()
    return result


def test_orders_are_sent_only_once_the_ledger_holds_them() -> None:
    ledger, venue = MemoryLedger(), RoutingVenue()
    core = core_on(ledger, venue)
    assert answer(core.take(block(accounts(), orders([1, 2])), NOW)).accepted == 2
    core.advance(NOW)
    assert venue.sent == [] and core.next_due_ns() == 0
    end(core, ledger)
    core.advance(NOW + 1)
    (message,) = end(core, ledger).messages
    assert [each.subscriptions.tolist() for each in venue.sent] == [[1, 2]]
    (reported,) = decode_block(message.data or b"")
    assert reported.exec_types.tolist() == [ExecType.NEW] * 2
    assert reported.prefix == "acme-one-0-"


def test_an_execution_is_reported_within_a_turn_and_may_be_corrected() -> None:
    ledger, venue = MemoryLedger(), RoutingVenue()
    core = core_on(ledger, venue)
    core.take(block(accounts(), orders([1, 2])), NOW)
    end(core, ledger)
    core.advance(NOW + 1)
    (taken,) = venue.sent

    def filled(turn: Turn, now_ns: int) -> None:
        row = np.array([2])
        fees = np.array([5])
        turn.report(
            taken, OrdersOutcome(ExecType.TRADE, row, taken.quantities[:1], MARK, fees, now_ns)
        )

    def busted(turn: Turn, now_ns: int) -> str:
        correction = ExecutionCorrection(ExecType.TRADE_CANCEL, "acme-one-0-3", 0, 0, 0, 0, now_ns)
        return turn.correct(taken, 2, correction)

    core.within(filled, NOW + 2)
    assert core.within(busted, NOW + 3) == "acme-one-0-4"
    (message,) = end(core, ledger).messages
    new, trade, bust = decode_block(message.data or b"")
    assert new.numbers.tolist() == [1, 2]
    assert (trade.numbers.tolist(), trade.quantities.tolist()) == ([3], [SHARES_10])
    assert (bust.numbers.tolist(), bust.reference_numbers.tolist()) == ([4], [3])


def test_a_restart_gives_the_venue_what_the_ledger_holds() -> None:
    ledger, venue = MemoryLedger(), RoutingVenue()
    core = core_on(ledger, venue)
    core.take(block(accounts(), orders([1]), cancels([9])), NOW)
    end(core, ledger)
    core.advance(NOW + 1)
    core.take(block(orders([1], cause_number=2)), NOW + 1)
    end(core, ledger)
    assert venue.canceled == [9]
    again = RoutingVenue()
    restarted = core_on(MemoryLedger(bytes(ledger.data)), again)
    assert [each.key.cause_number for each in again.waiting] == [2]
    assert answer(restarted.take(block(orders([1])), NOW + 2)).repeated == 1
