"""Programs in memory for the suite: the paper broker's twin, and the plain broker in turns that a
kill ends anywhere.
"""

import asyncio
import time
from contextlib import suppress
from typing import Any

import msgspec

from actors.errors import OutcomeUnknownError, TransientError
from gateways.brokers.acceptance.program import PublishedMessage, Sent
from gateways.brokers.ledger.ledger import MemoryLedger
from gateways.brokers.paper.memory import MemoryPaperBroker
from gateways.brokers.paper.settings import FillSettings
from tests.gateways.brokers.acceptance.plain_broker import Execution, Fault, PlainBroker

_STEP_S = 0.01
_RETRY_S = 0.01
_MESSAGE_EXECUTIONS = 10_000


class _Stream:
    """The published messages. While held, it refuses more."""

    def __init__(self) -> None:
        self.stored: list[PublishedMessage] = []
        self.is_held = False

    def publish(self, subject: str, data: bytes) -> None:
        if self.is_held:
            raise TransientError("held")
        self.stored.append(PublishedMessage(subject, data))


class _Clock:
    def now_ns(self) -> int:
        return time.time_ns()


class TwinProgram:
    """The paper broker's twin. A kill takes its memory and leaves its ledger."""

    can_restart = True

    def __init__(self, settings: FillSettings) -> None:
        self.broker = settings.name
        self._settings = settings
        self._stream = _Stream()
        self._ledger = MemoryLedger()
        self._twin: MemoryPaperBroker | None = None
        self._make()

    async def send(self, block: bytes) -> Sent:
        sent = Sent()
        if self._twin is None:
            sent.fail()
            return sent
        with suppress(TransientError, OutcomeUnknownError):
            sent.answer(await self._twin.submit(block))
        return sent

    async def stored(self) -> list[PublishedMessage]:
        if self._twin is not None:
            with suppress(TransientError):
                self._twin.advance()
        return self._stream.stored

    async def kill(self) -> None:
        self._twin = None

    async def start(self) -> None:
        self._make()

    async def hold(self) -> None:
        self._stream.is_held = True

    async def release(self) -> None:
        self._stream.is_held = False

    def _make(self) -> None:
        self._ledger = MemoryLedger(bytes(self._ledger.data))

        def report(subject: str, data: bytes, *, message_id: str) -> None:
            self._stream.publish(subject, data)

        self._twin = MemoryPaperBroker(self._settings, _Clock(), report, ledger=self._ledger)


class PlainProgram:
    """The plain broker: it takes one block after the other, writes, answers and publishes."""

    broker = "plain"
    can_restart = True

    def __init__(self, fault: Fault, order_ids: str) -> None:
        self._fault = fault
        self._order_ids = order_ids
        self._stream = _Stream()
        self._disk: list[tuple[Any, ...]] = []
        self._starts = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._blocks: asyncio.Queue[tuple[bytes, Sent]] = asyncio.Queue()
        self._outbox: asyncio.Queue[list[Execution]] = asyncio.Queue()

    async def send(self, block: bytes) -> Sent:
        sent = Sent()
        if self._tasks and not self._tasks[0].done():
            self._blocks.put_nowait((block, sent))
        else:
            sent.fail()
        return sent

    async def stored(self) -> list[PublishedMessage]:
        await asyncio.sleep(0)
        return self._stream.stored

    async def kill(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def start(self) -> None:
        self._starts += 1
        self._blocks, self._outbox = asyncio.Queue(), asyncio.Queue()
        broker = PlainBroker(self._disk, self._fault, self._order_ids, self._starts)
        self._outbox.put_nowait(broker.unconfirmed())
        self._tasks = [asyncio.create_task(work) for work in (self._take(broker), self._publish())]

    async def hold(self) -> None:
        self._stream.is_held = True

    async def release(self) -> None:
        self._stream.is_held = False

    async def _take(self, broker: PlainBroker) -> None:
        while True:
            block, sent = await self._blocks.get()
            taken = broker.take(block, time.time_ns())
            if self._fault is Fault.ANSWERS_BEFORE_WRITING:
                sent.answer(taken.answer)
                await asyncio.sleep(_STEP_S)
            half = len(taken.records) // 2 if self._fault is Fault.WRITES_HALF_BLOCKS else 0
            self._disk += taken.records[:half]
            await asyncio.sleep(_STEP_S if half else 0)
            self._disk += taken.records[half:]
            if self._fault is not Fault.ANSWERS_BEFORE_WRITING:
                sent.answer(taken.answer)
            if self._fault is Fault.ANSWERS_TWICE:
                sent.answer(taken.answer)
            self._outbox.put_nowait(taken.executions)

    async def _publish(self) -> None:
        while True:
            executions = await self._outbox.get()
            for shard in sorted({each.shard for each in executions}):
                of_shard = [each for each in executions if each.shard == shard]
                for start in range(0, len(of_shard), _MESSAGE_EXECUTIONS):
                    await self._publish_of(shard, of_shard[start : start + _MESSAGE_EXECUTIONS])

    async def _publish_of(self, shard: int, executions: list[Execution]) -> None:
        name = shard + (self._fault is Fault.PUBLISHES_UNDER_ANOTHER_SHARD)
        data = msgspec.json.encode([each.json for each in executions])
        while True:
            try:
                self._stream.publish(f"executions.{self.broker}.{name}", data)
                break
            except TransientError:
                if self._fault is Fault.PUBLISHES_ONCE_ONLY:
                    break
                await asyncio.sleep(_RETRY_S)
        self._disk += [("confirmed", each.number) for each in executions]
