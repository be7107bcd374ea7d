"""Careful mode: an owner takes one input at a time, to find the one that crashes its shard.

    usual --owners died without progress--> careful --an input died twice--> quarantined, careful
                                               `------inputs went well-----> usual

A poison input ends its shard by an exception, or ends the whole process. Every owner begins with a
fence. Several fences in a row at a journal's end are therefore owners that died without committing
anything. That alone proves little: owners are also stopped, or killed, while there is nothing to
do. So it only makes the next owner careful.

A careful owner takes one input at a time. Before it decides the input, it names it in a frame of
its own (`InputAttempted`). No other shard of its process runs until the result is durable. An input
is quarantined (`InputQuarantined`) once two owners died right after announcing it. Any other frame
is progress and clears the suspicion. These are frames like others, so P3, P5 and P6 hold.

The effects of a quarantine on a kind of input do not belong here. They are with the shard that
takes the input.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import structlog

from actors.ports import StoredMessage, Streams
from actors.retry import retry_until_done
from actors.shard.committer import Output
from actors.shard.crash_trail import CrashTrail
from actors.shard.dead_letters import EXCERPT_CHARS_MAX, TEXT_CHARS_MAX
from actors.shard.input_names import Input
from engine.journal.events.shard import InputAttempted, InputQuarantined

_log = structlog.get_logger()

TRIES = 2
"""The number of owners that must die with an input alone in hand. One of them may have been killed
just then by chance.
"""
INPUTS_CAREFUL = 1_000
"""An owner is careful no longer after so many inputs went well: at least as many as a turn
takes.
"""
READ_S_MAX = 10.0


class PoisonError(Exception):
    """An input crashes its shard and cannot be left out. The shard stops until an operator starts
    it again.
    """


class CarefulMode:
    """The mode of one owner, and the input that it must not decide."""

    def __init__(self, crashes: int) -> None:
        self._crashes = crashes
        self._left = 0
        self._suspect: Input | None = None
        self.tries = 0
        self.fences_after = 0

    def begin(self, trail: CrashTrail) -> None:
        """Take the ends of the former owners, and be careful if they call for it."""
        if trail.attempts or trail.fences >= max(1, self._crashes - 1):
            self._left = INPUTS_CAREFUL
            self._suspect, self.tries, self.fences_after = (
                trail.suspect,
                trail.tries,
                trail.fences_after,
            )
            _log.warning("careful", fences=trail.fences, suspect=trail.suspect, tries=trail.tries)

    @property
    def is_on(self) -> bool:
        """True while inputs are taken one at a time."""
        return self._left > 0

    @property
    def poison(self) -> Input | None:
        """The input that is proven to end its owner."""
        return self._suspect if self.tries >= TRIES else None

    def went_well(self) -> None:
        """Count an input whose result is durable."""
        self._left -= 1
        if not self._left:
            _log.info("careful_no_longer")

    def quarantined(self, expected: str, excerpt: str) -> InputQuarantined:
        """Make the event that gives the poison up. It is suspected no longer."""
        assert self._suspect is not None
        _log.error("input_quarantined", input=self._suspect, tries=self.tries, alarm=True)
        text = (
            f"poison: expected {expected}, found that it ended its "
            f"shard {self.tries} times when tried alone"
        )
        source, shard, sequence, position, row, subject = self._suspect
        quarantined = InputQuarantined(
            source,
            shard,
            sequence,
            position,
            row,
            self.tries,
            subject,
            text[:TEXT_CHARS_MAX],
            excerpt[:EXCERPT_CHARS_MAX],
        )
        self._suspect, self.tries = None, 0
        return quarantined


class FrameCommits(Protocol):
    """The commits of a shard, as a lone input needs them."""

    async def commit(
        self, events: Sequence[Any], event_time_ns: int, outputs: Sequence[Output]
    ) -> None:
        """Send one frame of decided and applied events."""
        ...

    async def settle(self) -> None:
        """Wait until every frame is durable."""
        ...


class LoneInputs:
    """The inputs of a careful owner, each decided with nothing else in hand."""

    def __init__(self, careful: CarefulMode, commits: FrameCommits, arrived: asyncio.Event) -> None:
        self._careful = careful
        self._commits = commits
        self._arrived = arrived

    async def decide(
        self,
        tried: Input,
        decide: Callable[[list[Any], list[Output]], Awaitable[None]],
        quarantine: Callable[[list[Any]], None],
        now: Callable[[], int],
    ) -> None:
        """Journal that an input is tried, decide it, and journal the result. Quarantine the poison
        instead.

        `decide` and `quarantine` put their events, already applied, into the list that they get.
        """
        events: list[Any] = []
        outputs: list[Output] = []

        async def decided() -> None:
            await decide(events, outputs)
            # An empty frame, too, says that the input is done with.
            await self._commits.commit(events, now(), outputs)

        if tried != self._careful.poison:
            await self.attempt(tried, decided, now)
            return
        quarantine(events)
        await self._commits.commit(events, now(), outputs)
        await self._commits.settle()
        self._arrived.set()

    async def attempt(
        self, tried: Input, act: Callable[[], Awaitable[None]], now: Callable[[], int]
    ) -> None:
        """Journal that an input is tried, then do `act`, which commits the result."""
        await self._commits.commit([InputAttempted(*tried)], now(), ())
        await self._commits.settle()
        await act()
        await self._commits.settle()
        self._careful.went_well()
        self._arrived.set()

    async def settle(self, events: list[Any], now: Callable[[], int]) -> None:
        """Make events of no input durable, so that the next input has nothing else in hand."""
        if events:
            await self._commits.commit(events, now(), ())
            await self._commits.settle()


async def read_message(streams: Streams, stream: str, sequence: int) -> StoredMessage | None:
    """Read one message of a stream again. Returns: None when it is not there, or does not come in
    time.
    """
    arrived = asyncio.Event()
    feed = await retry_until_done(
        f"message {sequence} of {stream}",
        lambda: streams.open_feed(stream, ">", after_sequence=sequence - 1, arrived=arrived),
    )
    try:
        async with asyncio.timeout(READ_S_MAX):
            while not (messages := feed.take(1)):
                await arrived.wait()
                arrived.clear()
    except TimeoutError:
        return None
    finally:
        await feed.close()
    return messages[0] if messages[0].sequence == sequence else None
