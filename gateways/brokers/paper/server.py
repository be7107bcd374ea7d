"""The paper broker's process: the broker program with the paper broker's venue, and a desk for
corrections.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from engine.values.refusals import Refused
from gateways.brokers.ledger.ledger import Readable
from gateways.brokers.paper.corrections import (
    CorrectionAsked,
    TradedOrder,
    decode_correction,
    find_traded,
)
from gateways.brokers.paper.lost_answers import LostAnswers
from gateways.brokers.paper.settings import FillSettings, PaperBrokerConfig
from gateways.brokers.paper.venue import PaperVenue
from gateways.brokers.program import server
from gateways.brokers.program.turns import Answer, TurnOptions, Turns
from gateways.json.commands import encode_ok, encode_refused
from gateways.json.fields import MessageError

_CORRECTIONS_MAX = 1_000

Correct = Callable[[CorrectionAsked, TradedOrder | None], Awaitable[str | Refused]]
"""Cancels or corrects a trade. Returns: the execution's id once the ledger holds it, or why not."""


class CorrectionDesk:
    """Answers requests for corrections one at a time. It looks each trade up in the ledger, in a
    thread beside the turns.
    """

    def __init__(self, ledger: Readable, correct: Correct) -> None:
        self._ledger = ledger
        self._correct = correct
        self._requests: asyncio.Queue[tuple[bytes, Answer]] = asyncio.Queue(_CORRECTIONS_MAX)

    def offer(self, data: bytes, answer: Answer) -> bool:
        """Queue a request. Returns: False when the queue is full."""
        if self._requests.full():
            return False
        self._requests.put_nowait((data, answer))
        return True

    async def run(self) -> None:
        """Answer until cancelled."""
        while True:
            data, answer = await self._requests.get()
            await answer(await self._answered(data))

    async def _answered(self, data: bytes) -> bytes:
        try:
            asked = decode_correction(data)
        except MessageError as error:
            return encode_refused(error.reason, str(error))
        order = await asyncio.to_thread(find_traded, self._ledger, asked.exec_ref_id)
        outcome = await self._correct(asked, order)
        if isinstance(outcome, Refused):
            return encode_refused(*outcome)
        return encode_ok(exec_id=outcome)


async def serve(config: PaperBrokerConfig) -> None:
    """Run the paper broker until SIGTERM or SIGINT. Raises: LedgerError, OperatingError."""
    venue = PaperVenue(config)

    def desks(ledger: Readable, turns: Turns) -> Mapping[str, server.Desk]:
        return {"corrections": CorrectionDesk(ledger, corrections_within(turns, venue))}

    await server.serve(
        config, venue, config.connection(), options=turn_options(config), desks=desks
    )


def corrections_within(turns: Turns, venue: PaperVenue) -> Correct:
    """Return how to have a venue correct a trade within a turn."""

    async def correct(asked: CorrectionAsked, order: TradedOrder | None) -> str | Refused:
        return await turns.within(lambda turn, now_ns: venue.correct(asked, order, now_ns, turn))

    return correct


def turn_options(settings: FillSettings) -> TurnOptions:
    """Return the habits that the settings ask for."""
    return TurnOptions(
        is_doubled=settings.duplicate_executions,
        executes_before_reply=settings.execute_before_reply,
        loses_answer=LostAnswers(settings).loses_next,
    )
