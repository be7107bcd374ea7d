"""The paper broker's process: blocks from NATS through the core into the ledger, answers and
executions back out.

One turn: take everything that waits -> one frame -> one write and fdatasync -> answers, and
executions to the publisher. A block that nobody could answer (no space, no connection) is sent
again by its gateway, and refused as seen if it was taken.
"""

import asyncio
import logging
import signal
import time
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from secrets import token_hex
from typing import NamedTuple

from actors.errors import OperatingError, TransientError
from engine.values.refusals import Refused
from gateways.brokers.ledger.ledger import FileLedger, Ledger, Readable
from gateways.brokers.paper.core import PaperBrokerCore
from gateways.brokers.paper.corrections import (
    CorrectionAsked,
    TradedOrder,
    decode_correction,
    find_traded,
)
from gateways.brokers.paper.look_up import LostAnswers
from gateways.brokers.paper.publisher import Publish, Publisher
from gateways.brokers.paper.settings import FillSettings, PaperBrokerConfig
from gateways.json.commands import encode_ok, encode_refused
from gateways.json.fields import MessageError
from gateways.nats.connection import NatsConnection, NatsOptions, connect_nats
from gateways.nats.streams import NatsStreams

_QUEUE_BYTES_MAX = 64 << 20
_QUEUE_BLOCKS_MAX = 16_384
_TURN_BYTES_MAX = 16 << 20
_CORRECTIONS_MAX = 1_000
_SYNCED_HERE_BYTES_MAX = 256 << 10
"""A frame up to this size is on disk about as soon as a thread has heard of it, and for less CPU
(`latency`).
"""
_CONFIRM_EVERY_S = 0.25
_STOP_PUBLISH_S_MAX = 1.0
_NS_PER_S = 1_000_000_000
_log = logging.getLogger(__name__)

Answer = Callable[[bytes], Awaitable[None]]


class Correcting(NamedTuple):
    """A correction asked for, the order it is of, and where its outcome is awaited."""

    asked: CorrectionAsked
    order: TradedOrder | None
    answered: asyncio.Future[str | Refused]


class CorrectionDesk:
    """Answers requests for corrections one at a time: each looks its trade up in the ledger, away
    from the turns.
    """

    def __init__(self, ledger: Readable, turns: "Turns") -> None:
        self._ledger = ledger
        self._turns = turns
        self._requests: asyncio.Queue[tuple[bytes, Answer]] = asyncio.Queue(_CORRECTIONS_MAX)

    def offer(self, data: bytes, answer: Answer) -> bool:
        """Queue a request. Returns: False when the queue is full."""
        if self._requests.full():
            return False
        self._requests.put_nowait((data, answer))
        return True

    async def run(self) -> None:
        """Answer for ever."""
        while True:
            data, answer = await self._requests.get()
            await answer(await self._answered(data))

    async def _answered(self, data: bytes) -> bytes:
        try:
            asked = decode_correction(data)
        except MessageError as error:
            return encode_refused(error.reason, str(error))
        order = await asyncio.to_thread(find_traded, self._ledger, asked.exec_ref_id)
        outcome = await self._turns.correct(asked, order)
        if isinstance(outcome, Refused):
            return encode_refused(*outcome)
        return encode_ok(exec_id=outcome)


class Turns:
    """The queue of blocks and the loop that takes them; owns core and ledger while it runs."""

    def __init__(
        self, core: PaperBrokerCore, ledger: Ledger, streams: Publish, settings: FillSettings
    ) -> None:
        self._core = core
        self._ledger = ledger
        self._settings = settings
        self._lost = LostAnswers(settings)
        self._waiting: deque[tuple[bytes, Answer]] = deque()
        self._waiting_bytes = 0
        self._corrections: deque[Correcting] = deque()
        self._stopping = False
        self._wake = asyncio.Event()
        self.publisher = Publisher(
            streams,
            ledger,
            broker=settings.name,
            is_doubled=settings.duplicate_executions,
            name_message=core.message_id,
            confirm=core.confirm,
        )
        self.publisher.add(core.unconfirmed())

    def offer(self, block: bytes, answer: Answer) -> bool:
        """Queue a block. Returns: False when the queue is full; the block is then forgotten without
        an answer.
        """
        if (
            self._waiting_bytes + len(block) > _QUEUE_BYTES_MAX
            or len(self._waiting) >= _QUEUE_BLOCKS_MAX
        ):
            return False
        self._waiting.append((block, answer))
        self._waiting_bytes += len(block)
        self._wake.set()
        return True

    async def correct(self, asked: CorrectionAsked, order: TradedOrder | None) -> str | Refused:
        """Let the next turn cancel or correct a trade. Returns: once it is in the ledger, as
        `PaperBrokerCore.correct`.
        """
        correcting = Correcting(asked, order, asyncio.get_running_loop().create_future())
        self._corrections.append(correcting)
        self._wake.set()
        return await correcting.answered

    def stop(self) -> None:
        """End `run` after what is queued was answered."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Take turns until stopped. Raises: LedgerError, after which the process must end."""
        with ThreadPoolExecutor(1, "ledger") as disk:
            while not (self._stopping and not self._waiting):
                await self._wait()
                if not self.publisher.has_space:
                    await self._hold(self.publisher.wait_space)
                await self.turn(disk)
            if self.publisher.waiting_count:
                await _at_most(self.publisher.wait_published(), _STOP_PUBLISH_S_MAX)
            await self.turn(disk)

    async def turn(self, disk: ThreadPoolExecutor) -> None:
        """Take what waits, write it, answer it."""
        corrected = self._take_corrections()
        answers = self._take_waiting()
        self._core.advance(time.time_ns())
        cut = self._core.cut()
        if cut.frame:
            if len(cut.frame) <= _SYNCED_HERE_BYTES_MAX:
                self._ledger.append(cut.frame)
            else:
                await asyncio.get_running_loop().run_in_executor(
                    disk, self._ledger.append, cut.frame
                )
            self._core.committed()
        self.publisher.add(cut.messages)
        # Executions leave before answers: a gateway sends on without waiting for these.
        await asyncio.sleep(0)
        if self._settings.execute_before_reply:
            await self._hold(self.publisher.wait_published)
        for answer, reply in answers:
            if not self._lost.loses_next():
                await answer(reply)
        for correcting, outcome in corrected:
            if not correcting.answered.done():
                correcting.answered.set_result(outcome)

    def _take_corrections(self) -> list[tuple["Correcting", str | Refused]]:
        taken = [
            (each, self._core.correct(each.asked, each.order, time.time_ns()))
            for each in self._corrections
        ]
        self._corrections.clear()
        return taken

    def _take_waiting(self) -> list[tuple[Answer, bytes]]:
        answers: list[tuple[Answer, bytes]] = []
        taken_bytes = 0
        while self._waiting and taken_bytes < _TURN_BYTES_MAX and not self._core.is_full:
            block, answer = self._waiting.popleft()
            taken_bytes += len(block)
            answers.append((answer, self._core.take(block, time.time_ns())))
        self._waiting_bytes -= taken_bytes
        return answers

    async def _hold(self, wait: Callable[[], Awaitable[None]]) -> None:
        """Wait for the publisher, but not longer than until the stop."""
        while not self._stopping and not await _at_most(wait(), _CONFIRM_EVERY_S):
            pass

    async def _wait(self) -> None:
        """Wait for a block, an order that is due, a stop, or the time to write confirmations
        down.
        """
        if not self._waiting and not self._corrections and not self._stopping:
            self._wake.clear()
            due_ns = self._core.next_due_ns()
            pause_s = _CONFIRM_EVERY_S
            if due_ns is not None:
                pause_s = min(pause_s, max(0.0, (due_ns - time.time_ns()) / _NS_PER_S))
            waking = asyncio.get_running_loop().call_later(pause_s, self._wake.set)
            await self._wake.wait()
            waking.cancel()


async def serve(config: PaperBrokerConfig) -> None:
    """Run the paper broker until SIGTERM or SIGINT. Raises: LedgerError, OperatingError."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    ledger = FileLedger(Path(config.ledger_dir), lock_wait_s=config.lock_wait_s)
    try:
        core = PaperBrokerCore(config, ledger, new_ledger_id=token_hex(4))
        if ledger.torn_bytes:
            _log.warning(
                "ledger: cut off %d bytes of a frame that was never finished", ledger.torn_bytes
            )
        _log.info("ledger at frame %d: %s", ledger.next_number - 1, core.statistics())
        connection = await _connect(config, stop)
        if connection is not None:
            try:
                await _serve_connected(config, core, ledger, connection, stop)
            finally:
                await connection.close()
    finally:
        ledger.close()


async def _connect(config: PaperBrokerConfig, stop: asyncio.Event) -> NatsConnection | None:
    """Connect, however long it takes; None when stopped before."""
    options = NatsOptions(
        url=config.nats_url,
        user=config.user,
        password=config.password,
        name=f"paper-broker-{config.name}",
        inbox_prefix=config.inbox_prefix,
    )
    while not stop.is_set():
        connecting = asyncio.create_task(connect_nats(options))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait((connecting, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not connecting.done():
            connecting.cancel()
            return None
        try:
            return connecting.result()
        except TransientError as error:
            _log.warning("%s", error)
    return None


async def _serve_connected(
    config: PaperBrokerConfig,
    core: PaperBrokerCore,
    ledger: Ledger,
    connection: NatsConnection,
    stop: asyncio.Event,
) -> None:
    turns = Turns(core, ledger, NatsStreams(connection), config)

    desk = CorrectionDesk(ledger, turns)

    def receive(subject: str, reply: str, data: bytes, headers: dict[str, str] | None) -> None:
        async def answer(payload: bytes) -> None:
            try:
                await connection.publish(reply, payload)
            except OperatingError as error:
                _log.info("answer lost, it will be asked for again: %s", error)

        offer = desk.offer if subject.endswith(".corrections") else turns.offer
        if reply and not offer(data, answer):
            _log.warning("queue full, a message of %d bytes gets no answer", len(data))

    async with asyncio.TaskGroup() as tasks:
        publishing = tasks.create_task(turns.publisher.run())
        running = tasks.create_task(turns.run())
        correcting = tasks.create_task(desk.run())
        corrections = await connection.subscribe(f"broker.{config.name}.corrections", receive)
        orders = await connection.subscribe(f"broker.{config.name}.orders", receive)
        _log.info("paper broker %s takes orders on broker.%s.orders", config.name, config.name)
        await stop.wait()
        await orders.close()
        await corrections.close()
        correcting.cancel()
        turns.stop()
        await running
        publishing.cancel()


async def _at_most(waiting: Awaitable[object], seconds: float) -> bool:
    """Wait for something, but not for ever. Returns: whether it came."""
    try:
        async with asyncio.timeout(seconds):
            await waiting
    except TimeoutError:
        return False
    return True
