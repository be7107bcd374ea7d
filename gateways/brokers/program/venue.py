"""The port between a broker program and the place where its orders are executed.

The paper broker's venue fills orders by rules. A FIX or Alpaca program's venue would send them on,
and report what comes back. The program does everything else.
"""

from typing import Protocol

from engine.columns.section_types import Section
from engine.messages.blocks import CancelsSubmitted, Report
from gateways.brokers.ledger.records import OrdersTaken
from gateways.brokers.program.turn import Turn


class Venue(Protocol):
    """Executes orders. Every method runs within one turn and returns at once.

    What is placed becomes durable at the end of the turn. A venue that sends orders elsewhere must
    wait for that: it keeps them, and sends them in the `advance` of a later turn. What arrives from
    elsewhere is reported through `Turns.within`.
    """

    def place(self, orders: OrdersTaken, now_ns: int, turn: Turn) -> None:
        """Work orders that were taken now, none of them seen before unless order ids repeat by
        setting.
        """
        ...

    def cancel(self, cancels: CancelsSubmitted, event_time: int, now_ns: int, turn: Turn) -> None:
        """Cancel the orders that are open. One that is done, or never came, gets no report."""
        ...

    def advance(self, now_ns: int, turn: Turn) -> None:
        """Do what is due by wall time; stop when the turn is full."""
        ...

    def next_due_ns(self) -> int | None:
        """Return when `advance` has something to do, None when nothing is open."""
        ...

    def replay_record(self, record: Section) -> None:
        """Take a record read back from the ledger: orders, cancels, and what the venue recorded
        itself.
        """
        ...

    def replay_report(self, report: Report) -> None:
        """Take executions read back from the ledger."""
        ...

    def replay_ended(self) -> None:
        """Begin to work: all of the ledger was read."""
        ...
