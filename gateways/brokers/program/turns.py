"""The loop of a broker program: it takes what waits, writes one frame, then answers and publishes.

One turn: requests of the venue and waiting blocks -> one frame -> one write and fdatasync ->
answers, and executions to the publisher. A block that got no answer (no space, no connection) is
sent again or looked up by its gateway.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

from actors.deadline import came_within
from gateways.brokers.ledger.ledger import Ledger
from gateways.brokers.program.core import ProgramCore
from gateways.brokers.program.publisher import Publish, ReportPublisher
from gateways.brokers.program.turn import Turn

_QUEUE_BYTES_MAX = 64 << 20
_QUEUE_BLOCKS_MAX = 16_384
_TURN_BYTES_MAX = 16 << 20
_SYNCED_HERE_BYTES_MAX = 256 << 10
"""Up to this size the loop's own thread writes and syncs a frame. Waking another thread takes about
as long, and costs more CPU (`latency`).
"""
_CONFIRM_EVERY_S = 0.25
_STOP_PUBLISH_S_MAX = 1.0
_NS_PER_S = 1_000_000_000
R = TypeVar("R")

Answer = Callable[[bytes], Awaitable[None]]


class TurnOptions(NamedTuple):
    """Habits of a program that a gateway must bear; the defaults are those of a good one."""

    is_doubled: bool = False
    """Publish each executions message twice, the second time under another message id."""
    executes_before_reply: bool = False
    """Answer a block only once JetStream holds its executions."""
    loses_answer: Callable[[], bool] = lambda: False
    """Called for each answer. True: the answer is never sent."""


class _Requested(NamedTuple):
    """Work that the venue wants done within a turn, and the future that awaits its outcome."""

    work: Callable[[Turn, int], Any]
    done: asyncio.Future[Any]


class Turns:
    """The queue of blocks and the loop that takes them; owns core and ledger while it runs."""

    def __init__(
        self,
        core: ProgramCore,
        ledger: Ledger,
        streams: Publish,
        *,
        broker: str,
        options: TurnOptions,
    ) -> None:
        self._core = core
        self._ledger = ledger
        self._options = options
        self._waiting: deque[tuple[bytes, Answer]] = deque()
        self._waiting_bytes = 0
        self._requested: deque[_Requested] = deque()
        self._stopping = False
        self._wake = asyncio.Event()
        self.publisher = ReportPublisher(
            streams,
            ledger,
            broker=broker,
            is_doubled=options.is_doubled,
            name_message=core.message_id,
            confirm=core.confirm,
        )
        self.publisher.add(core.unconfirmed())

    def offer(self, block: bytes, answer: Answer) -> bool:
        """Queue a block. Returns: False when the queue is full; the block then gets no answer."""
        if (
            self._waiting_bytes + len(block) > _QUEUE_BYTES_MAX
            or len(self._waiting) >= _QUEUE_BLOCKS_MAX
        ):
            return False
        self._waiting.append((block, answer))
        self._waiting_bytes += len(block)
        self._wake.set()
        return True

    async def within(self, work: Callable[[Turn, int], R]) -> R:
        """Let the next turn do a piece of the venue's work. Returns: its outcome, once the ledger
        holds the turn.
        """
        requested = _Requested(work, asyncio.get_running_loop().create_future())
        self._requested.append(requested)
        self._wake.set()
        outcome: R = await requested.done
        return outcome

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
                await came_within(self.publisher.wait_published(), _STOP_PUBLISH_S_MAX)
            await self.turn(disk)

    async def turn(self, disk: ThreadPoolExecutor) -> None:
        """Take what waits, write it, answer it."""
        outcomes = self._take_requested()
        answers = self._take_waiting()
        self._core.advance(time.time_ns())
        result = self._core.end_turn()
        if result.frame:
            await self._append(result.frame, disk)
            self._core.committed()
        self.publisher.add(result.messages)
        # Executions leave before answers: a gateway sends on without waiting for these.
        await asyncio.sleep(0)
        if self._options.executes_before_reply:
            await self._hold(self.publisher.wait_published)
        for answer, reply in answers:
            if not self._options.loses_answer():
                await answer(reply)
        for requested, outcome in outcomes:
            if not requested.done.done():
                requested.done.set_result(outcome)

    async def _append(self, frame: bytes, disk: ThreadPoolExecutor) -> None:
        if len(frame) <= _SYNCED_HERE_BYTES_MAX:
            self._ledger.append(frame)
        else:
            await asyncio.get_running_loop().run_in_executor(disk, self._ledger.append, frame)

    def _take_requested(self) -> list[tuple[_Requested, Any]]:
        taken = [
            (requested, self._core.within(requested.work, time.time_ns()))
            for requested in self._requested
        ]
        self._requested.clear()
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
        """Wait for the publisher, until the stop at the latest."""
        while not self._stopping and not await came_within(wait(), _CONFIRM_EVERY_S):
            pass

    async def _wait(self) -> None:
        """Wait for a block, a request, an order that is due, a stop, or the time to write
        confirmations down.
        """
        if not self._waiting and not self._requested and not self._stopping:
            self._wake.clear()
            due_ns = self._core.next_due_ns()
            pause_s = _CONFIRM_EVERY_S
            if due_ns is not None:
                pause_s = min(pause_s, max(0.0, (due_ns - time.time_ns()) / _NS_PER_S))
            waking = asyncio.get_running_loop().call_later(pause_s, self._wake.set)
            await self._wake.wait()
            waking.cancel()
