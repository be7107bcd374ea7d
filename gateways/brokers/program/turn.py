"""One turn: the records and executions that go into one frame of the ledger.

Whatever happens in a turn is durable together, or not at all. Records stand in the frame in the
order in which they were added, and before all executions of the turn.
"""

from typing import NamedTuple

import numpy as np

from engine.columns.section_types import Section
from gateways.brokers.ledger.records import FrameDraft, OrdersTaken, PublishConfirmed
from gateways.brokers.program.reports import ExecutionCorrection, Message, OrdersOutcome, Reports

EXECUTIONS_PER_TURN = 4_000_000
"""Executions after which a turn takes no further block or open order: bounds memory and frame."""


class TurnResult(NamedTuple):
    """A turn's frame, to be appended to the ledger, and the messages to publish after it. The frame
    is empty when nothing happened.
    """

    frame: bytes
    messages: list[Message]


class Turn:
    """A turn in progress. A venue reports what became of orders by it."""

    def __init__(self, draft: FrameDraft, reports: Reports) -> None:
        self._draft = draft
        self._reports = reports

    @property
    def is_full(self) -> bool:
        """True when the turn should end before more is taken."""
        return self._reports.waiting_count >= EXECUTIONS_PER_TURN

    def record(self, record: Section) -> int:
        """Add a record. Returns: the offset that it will have in the ledger."""
        return self._draft.add(record)

    def report(self, orders: OrdersTaken, outcome: OrdersOutcome) -> None:
        """Report executions of some orders of a record."""
        self._reports.add(orders, outcome)

    def correct(
        self, orders: OrdersTaken, subscription: int, correction: ExecutionCorrection
    ) -> str:
        """Report a trade cancel or correction. Returns: its execution id."""
        return self._reports.add_correction(orders, subscription, correction)

    def end(self, confirmed: dict[int, int], last_sequence: int) -> TurnResult:
        """End the turn. `confirmed` are the numbers up to which JetStream has newly confirmed
        executions, by follower shard. `last_sequence` is the highest sequence that it has given.
        """
        messages = self._reports.write_into(self._draft)
        if confirmed:
            shards = np.array(list(confirmed), np.int64)
            numbers = np.array(list(confirmed.values()), np.int64)
            self._draft.add(PublishConfirmed(shards, numbers, last_sequence))
        return TurnResult(b"" if self._draft.is_empty else self._draft.seal(), messages)
