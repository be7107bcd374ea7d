"""The paper broker in memory: the same core and ledger frames, no process, no NATS. The twin for
tests and dry runs.
"""

from typing import Protocol

from actors.errors import OutcomeUnknownError
from engine.values.refusals import Refused
from gateways.brokers.ledger.ledger import MemoryLedger
from gateways.brokers.paper.core import PaperBrokerCore
from gateways.brokers.paper.corrections import CorrectionAsked, find_traded
from gateways.brokers.paper.look_up import LostAnswers
from gateways.brokers.paper.settings import FillSettings


class Report(Protocol):
    """Receives one executions message, as JetStream would: called in order, once per message and
    restart until it was confirmed.
    """

    def __call__(self, subject: str, data: bytes, *, message_id: str) -> None: ...


class _Clock(Protocol):
    def now_ns(self) -> int: ...


class MemoryPaperBroker:
    """Implements `actors.ports.Broker`. Messages are reported after the ledger has them, and count
    as confirmed when `report` returns.
    """

    def __init__(
        self,
        settings: FillSettings,
        clock: _Clock,
        report: Report,
        *,
        ledger: MemoryLedger | None = None,
        ledger_id: str = "memory",
    ) -> None:
        """Start, or restart on the ledger of an earlier one: what was not confirmed is reported
        again at once.
        """
        self._settings = settings
        self._clock = clock
        self._report = report
        self._lost = LostAnswers(settings)
        self.ledger = ledger if ledger is not None else MemoryLedger()
        self._core = PaperBrokerCore(settings, self.ledger, new_ledger_id=ledger_id)
        self._unreported = self._core.unconfirmed()
        self.advance()

    async def submit(self, block: bytes) -> bytes:
        """Take one block. Returns: the answer. Raises: OutcomeUnknownError when that is lost, as
        configured.
        """
        answer = self._core.take(block, self._clock.now_ns())
        self._commit()
        if self._lost.loses_next():
            raise OutcomeUnknownError(
                f"broker {self._settings.name}: the answer is lost, as configured"
            )
        return answer

    def correct(self, asked: CorrectionAsked) -> str | Refused:
        """Cancel or correct a trade. Returns: the execution's id, or why not."""
        answer = self._core.correct(
            asked, find_traded(self.ledger, asked.exec_ref_id), self._clock.now_ns()
        )
        self._commit()
        return answer

    def advance(self) -> None:
        """Execute what is due, and report what waits."""
        self._core.advance(self._clock.now_ns())
        self._commit()

    def next_due_ns(self) -> int | None:
        """Tell when `advance` is due, None when no order is open."""
        return self._core.next_due_ns()

    def _commit(self) -> None:
        self._append()
        self._report_all()

    def _append(self) -> None:
        cut = self._core.cut()
        if cut.frame:
            self.ledger.append(cut.frame)
            self._core.committed()
        self._unreported += cut.messages

    def _report_all(self) -> None:
        while self._unreported:
            message = self._unreported[0]
            data = message.data or self.ledger.read(message.offset, message.length)
            subject = f"executions.{self._settings.name}.{message.follower_shard}"
            self._report(subject, data, message_id=self._core.message_id(message))
            if self._settings.duplicate_executions:
                self._report(subject, data, message_id=f"{self._core.message_id(message)}-again")
            self._core.confirm(message)
            del self._unreported[0]
