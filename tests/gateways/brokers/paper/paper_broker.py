"""A paper broker in memory that tests can restart, with its clock and what it reported."""

from typing import Any

from engine.values.order_status import ExecType
from gateways.brokers.ledger.ledger import MemoryLedger
from gateways.brokers.paper.memory import MemoryPaperBroker
from gateways.brokers.paper.settings import FillSettings
from tests.gateways.brokers.builders import (
    EVENT_TIME,
    Clock,
    Reported,
    answer,
    block,
)

MS = 1_000_000


class PaperBroker:
    """A twin with its clock and what it reported; can be restarted."""

    def __init__(self, **settings: Any) -> None:
        self.settings = FillSettings(**settings)
        self.clock = Clock()
        self.reported = Reported()
        self.ledger = MemoryLedger()
        self.twin = MemoryPaperBroker(self.settings, self.clock, self.reported, ledger=self.ledger)

    def restart(self, cut: int | None = None) -> None:
        self.ledger = MemoryLedger(bytes(self.ledger.data[:cut]))
        self.twin = MemoryPaperBroker(
            self.settings, self.clock, self.reported, ledger=self.ledger, ledger_id="other"
        )

    async def submit(
        self, *sections: Any, epoch: int = 1, event_time: int = EVENT_TIME
    ) -> tuple[int, int, str]:
        taken = answer(await self.twin.submit(block(*sections, epoch=epoch, event_time=event_time)))
        return taken.accepted, taken.repeated, taken.refusal

    def pass_ms(self, ms: int) -> None:
        self.clock.now += ms * MS
        self.twin.advance()

    def types(self) -> list[ExecType]:
        return [exec_type for _, exec_type, _, _, _ in self.reported.executions().values()]
