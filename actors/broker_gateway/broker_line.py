"""The line to one broker: blocks go over it, and it knows since when the broker owes an answer."""

from typing import Any

from actors.broker_gateway.unresolved import check_answer
from actors.ports import Broker, Clock
from engine.messages.blocks import decode_block


class BrokerLine:
    """One broker as a gateway reaches it."""

    def __init__(self, broker: Broker, clock: Clock) -> None:
        self._broker = broker
        self._clock = clock
        self._asking_count = 0
        self._owed_ns = 0

    @property
    def silent_ns(self) -> int:
        """For how long the broker has owed an answer and sent none, 0 while it owes none."""
        return self._clock.now_ns() - self._owed_ns if self._owed_ns else 0

    async def ask(self, block: bytes) -> list[Any]:
        """Hand a block over. Returns: the answer's sections. Raises: OperatingError,
        SectionError.
        """
        self._owed_ns = self._owed_ns or self._clock.now_ns()
        self._asking_count += 1
        try:
            answer = check_answer(decode_block(await self._broker.submit(block)))
        finally:
            self._asking_count -= 1
        self._owed_ns = self._clock.now_ns() if self._asking_count else 0
        return answer
