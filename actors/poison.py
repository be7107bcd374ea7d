"""Poison: an input that crashes its shard, by an exception or by taking the whole process with it, again and again.

    usual --ends without progress--> careful --an input tried alone ended it, and again--> parked, careful --inputs went well--> usual

Every owner begins with a fence, so fences with nothing between them at a journal's end are owners that came to nothing. That alone says
little: owners are also stopped, and killed, while nothing is to be done. So it only makes the next owner *careful*: it takes one input at a
time, says which in a frame of its own before it decides (`InputAttempted`), and lets nothing else of its process run until what came of it
is durable. An input after whose announcement there are fences only, for the second time, is what the owners died of: it is parked
(`InputParked`). Progress, any other frame, clears the suspicion (P3, P5, P6 hold as ever: these are frames like others).

What does not belong here: what parking means for a kind of input; that is with the shard that takes it.
"""

import asyncio
from contextlib import suppress
from typing import Any, NamedTuple

import structlog

from actors.dead_letters import EXCERPT_CHARS_MAX, SUBJECT_CHARS_MAX, TEXT_CHARS_MAX
from actors.journal_back import frames_back
from actors.journal_writer import persist
from actors.ports import Journal, StoredMessage, Streams
from engine.chain import ChainBrokenError
from engine.events.shard import InputAttempted, InputParked, OwnerFenced
from engine.frame import NO_HASH, FrameHead, ShardKey, Source, decode_frame
from engine.tables import hash_64

_log = structlog.get_logger()

TRIES = 2
"""How often an input must have ended its owner alone: once may be a kill that came by chance just then."""
INPUTS_CAREFUL = 1_000
"""After so many inputs that went well an owner is careful no longer: a turn takes no more messages than this."""
NEIGHBOURS_S_MAX = 30.0
READ_S_MAX = 10.0


class PoisonError(Exception):
    """An input that crashes its shard cannot be left out: the shard stops until an operator starts it again."""


class Input(NamedTuple):
    """Which input, as in `InputAttempted`."""

    source: int
    shard: int
    sequence: int
    position: int
    row: int
    subject: str


def input_of(event: InputAttempted) -> Input:
    """Name the input of an event."""
    return Input(event.source, event.shard, event.sequence, event.position, event.row, event.subject)


def message_input(source: Source, message: StoredMessage, position: int) -> Input:
    """Name a stream's message, or a part of it."""
    return Input(source, 0, message.sequence, position, 0, message.subject[:SUBJECT_CHARS_MAX])


def command_input(name: str) -> Input:
    """Name a command, which has no place in a stream."""
    return Input(0, 0, 0, 0, 0, name[:SUBJECT_CHARS_MAX])


def command_name(subject: str, data: bytes) -> str:
    """Name a command by its bytes, before anything has read them: sent again, they are the same."""
    return f"{subject[:150]} {hash_64(data.hex()) & (1 << 64) - 1:016x}"


class Trail:
    """What stands at a journal's end since its shard last got anywhere."""

    def __init__(self) -> None:
        self.fences = 0
        self.fences_after = 0
        """How many of them follow the last attempt."""
        self.attempts: list[Input] = []
        self._begins: tuple[int, bytes] | None = None

    def take(self, sequence: int, head: FrameHead, events: list[Any]) -> None:
        """Take the next frame."""
        if events and all(isinstance(event, OwnerFenced) for event in events):
            self.fences += 1
            self.fences_after += 1
        elif events and all(isinstance(event, InputAttempted) for event in events):
            self.attempts += map(input_of, events)
            self.fences_after = 0
        else:
            self.fences = self.fences_after = 0
            self.attempts.clear()
            self._begins = 0, NO_HASH
        if self._begins is None:
            self._begins = sequence, head.previous_hash

    async def read_back(self, journal: Journal, key: ShardKey) -> None:
        """Read what stands before the first frame taken, if it may belong to the trail: a snapshot may have been taken inside it."""
        sequence, wanted = self._begins or (0, NO_HASH)
        before = list[tuple[FrameHead, list[Any]]]()
        # A journal may begin within the trail: then that is all of it.
        with suppress(ChainBrokenError):
            async for data in frames_back(journal, key, sequence=sequence - 1, hash=wanted):
                head, events = decode_frame(data)
                if not events or not all(isinstance(each, OwnerFenced | InputAttempted) for each in events):
                    break
                before.append((head, events))
        self._put_before(before)

    def _put_before(self, newest_first: list[tuple[FrameHead, list[Any]]]) -> None:
        fences = sum(isinstance(event, OwnerFenced) for _, events in newest_first for event in events)
        attempts = [
            input_of(event)
            for _, events in reversed(newest_first)
            for event in events
            if isinstance(event, InputAttempted)
        ]
        if not self.attempts:
            for _, events in newest_first:
                if not isinstance(events[0], OwnerFenced):
                    break
                self.fences_after += 1
        self.fences += fences
        self.attempts = attempts + self.attempts

    @property
    def suspect(self) -> Input | None:
        """The input that the last owner who announced one had in hand when it ended."""
        return self.attempts[-1] if self.attempts else None

    @property
    def tries(self) -> int:
        """How often owners ended with the suspect in hand."""
        return self.attempts.count(self.attempts[-1]) if self.attempts else 0


class Careful:
    """Whether an owner is careful, and which input it must not decide."""

    def __init__(self, crashes: int) -> None:
        self._crashes = crashes
        self._left = 0
        self._suspect: Input | None = None
        self.tries = 0
        self.fences_after = 0

    def begin(self, trail: Trail) -> None:
        """Learn how the former owners ended."""
        if trail.attempts or trail.fences >= max(1, self._crashes - 1):
            self._left = INPUTS_CAREFUL
            self._suspect, self.tries, self.fences_after = trail.suspect, trail.tries, trail.fences_after
            _log.warning("careful", fences=trail.fences, suspect=trail.suspect, tries=trail.tries)

    @property
    def is_on(self) -> bool:
        """Whether inputs are taken one at a time."""
        return self._left > 0

    @property
    def poison(self) -> Input | None:
        """The input that is proven to end its owner."""
        return self._suspect if self.tries >= TRIES else None

    def went_well(self) -> None:
        """Count an input that is behind."""
        self._left -= 1
        if not self._left:
            _log.info("careful_no_longer")

    def parked(self, expected: str, excerpt: str) -> InputParked:
        """Make the event that gives the poison up; it is suspected no longer."""
        assert self._suspect is not None
        _log.error("input_parked", input=self._suspect, tries=self.tries, alarm=True)
        text = (
            f"poison: expected {expected}, found that it ended its shard {self.tries} times when tried alone"
        )
        source, shard, sequence, position, row, subject = self._suspect
        parked = InputParked(
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
        return parked


class Neighbours:
    """The shards of one process: any number take turns, or a careful one alone, so that what ends the process is no other's doing."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self._turns = 0
        self._recovering = 0
        self._is_held = False

    def begin_recovery(self) -> None:
        """Count a shard that recovers."""
        self._recovering += 1

    def end_recovery(self) -> None:
        """Count it no longer."""
        self._recovering -= 1
        self._changed.set()

    async def enter(self) -> None:
        """Wait until no careful shard has an input in hand, and begin a turn."""
        while self._is_held:
            await self._wait()
        self._turns += 1

    def leave(self) -> None:
        """End a turn."""
        self._turns -= 1
        if not self._turns:
            self._changed.set()

    async def enter_alone(self) -> None:
        """Wait until no other shard does anything, and keep it so; but not for ever for one that does not end its turn."""
        while self._is_held:
            await self._wait()
        self._is_held = True
        try:
            async with asyncio.timeout(NEIGHBOURS_S_MAX):
                while self._turns or self._recovering:
                    await self._wait()
        except TimeoutError:
            _log.warning("not_alone", turns=self._turns, recovering=self._recovering)
        except BaseException:
            self.leave_alone()
            raise

    def leave_alone(self) -> None:
        """Let the others go on."""
        self._is_held = False
        self._changed.set()

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()


async def read_message(streams: Streams, stream: str, sequence: int) -> StoredMessage | None:
    """Read one message of a stream again; None when it is not there, or does not come in time."""
    arrived = asyncio.Event()
    feed = await persist(
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
