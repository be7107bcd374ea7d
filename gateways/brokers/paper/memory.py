"""The paper broker in memory: the same program, venue and ledger frames; no process and no NATS.
The twin for tests and dry runs.
"""

from typing import Protocol

from actors.errors import OutcomeUnknownError
from engine.values.refusals import Refused
from gateways.brokers.ledger.ledger import MemoryLedger
from gateways.brokers.paper.corrections import CorrectionAsked, find_traded
from gateways.brokers.paper.lost_answers import LostAnswers
from gateways.brokers.paper.settings import FillSettings
from gateways.brokers.paper.venue import PaperVenue
from gateways.brokers.program.core import ProgramCore


class TakeReport(Protocol):
    """Receives executions messages, as JetStream would: in order, each once per start of the broker
    until it was confirmed.
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
        report: TakeReport,
        *,
        ledger: MemoryLedger | None = None,
        ledger_id: str = "memory",
    ) -> None:
        """Start, or restart on the ledger of an earlier one, and report again at once what was not
        confirmed.
        """
        self._settings = settings
        self._clock = clock
        self._report = report
        self._lost = LostAnswers(settings)
        self.ledger = ledger if ledger is not None else MemoryLedger()
        self._venue = PaperVenue(settings)
        self._core = ProgramCore(settings, self.ledger, self._venue, new_ledger_id=ledger_id)
        self._unreported = self._core.unconfirmed()
        self.advance()

    async def submit(self, block: bytes) -> bytes:
        """Take one block. Returns: the answer. Raises: OutcomeUnknownError when it is lost, as
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
        """Cancel or correct a trade. Returns: the execution's id, or the refusal."""
        order = find_traded(self.ledger, asked.exec_ref_id)
        answer = self._core.within(
            lambda turn, now_ns: self._venue.correct(asked, order, now_ns, turn),
            self._clock.now_ns(),
        )
        self._commit()
        return answer

    def advance(self) -> None:
        """Execute what is due, and report what waits."""
        self._core.advance(self._clock.now_ns())
        self._commit()

    def next_due_ns(self) -> int | None:
        """Return when `advance` is due, None when no order is open."""
        return self._core.next_due_ns()

    def _commit(self) -> None:
        self._append()
        self._report_all()

    def _append(self) -> None:
        result = self._core.end_turn()
        if result.frame:
            self.ledger.append(result.frame)
            self._core.committed()
        self._unreported += result.messages

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
