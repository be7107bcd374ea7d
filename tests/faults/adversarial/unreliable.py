"""An unreliable way to a broker, seeded, and a loop whose clock skips idle time."""

import asyncio
import random

from actors.errors import OutcomeUnknownError, TransientError
from gateways.brokers.paper.memory import MemoryPaperBroker


class SkippingLoop(asyncio.SelectorEventLoop):
    """A loop in which pauses cost no time: when nothing is ready, the clock jumps to the next
    timer.
    """

    def __init__(self) -> None:
        super().__init__()
        self._skipped_s = 0.0

    def time(self) -> float:
        return super().time() + self._skipped_s

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]
            self._skipped_s += max(0.0, self._scheduled[0].when() - self.time())  # type: ignore[attr-defined]
        super()._run_once()  # type: ignore[misc]


class UnreliableWay:
    """Implements `actors.ports.Broker` before a paper broker: messages are lost, late, or at the
    broker without an answer.

    What is late arrives when somebody else's message does, or when the faults end; in any order.
    """

    def __init__(self, broker: MemoryPaperBroker, rng: random.Random) -> None:
        self.broker = broker
        self.is_faulty = True
        self._rng = rng
        self._late: list[bytes] = []

    async def submit(self, block: bytes) -> bytes:
        for _ in range(self._rng.randint(0, 4)):
            await asyncio.sleep(0)
        if not self.is_faulty:
            return await self.broker.submit(block)
        await self.deliver_late(self._rng.randint(0, 2))
        fate = self._rng.random()
        if fate < 0.1:
            raise TransientError("nobody listens")
        if fate < 0.25:
            raise OutcomeUnknownError("the message is lost")
        if fate < 0.4:
            self._late.append(block)
            raise OutcomeUnknownError("the message is late")
        answer = await self.broker.submit(block)
        for _ in range(self._rng.randint(0, 4)):
            await asyncio.sleep(0)
        if fate < 0.55:
            raise OutcomeUnknownError("the answer is lost")
        return answer

    async def deliver_late(self, count: int) -> None:
        """Deliver some of the late messages."""
        for _ in range(min(count, len(self._late))):
            await self.broker.submit(self._late.pop(self._rng.randrange(len(self._late))))

    async def end_faults(self) -> None:
        """Deliver everything late, and be reliable from then on."""
        self.is_faulty = False
        await self.deliver_late(len(self._late))
