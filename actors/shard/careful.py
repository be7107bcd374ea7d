"""Poison: an input that crashes its shard, by an exception or by taking the whole process with it,
again and again.

    usual --ends without progress--> careful --an input tried alone ended it, and again--> quarantined, careful --inputs went well--> usual

Every owner begins with a fence, so fences with nothing between them at a journal's end are owners
that came to nothing. That alone says little: owners are also stopped, and killed, while nothing is
to be done. So it only makes the next owner *careful*: it takes one input at a time, says which in a
frame of its own before it decides (`InputAttempted`), and lets nothing else of its process run
until what came of it is durable. An input after whose announcement there are fences only, for the
second time, is what the owners died of: it is quarantined
(`InputQuarantined`). Progress, any other frame, clears the suspicion (P3, P5, P6 hold as ever: these are frames like others).

What does not belong here: what quarantine means for a kind of input; that is with the shard that
takes it.
"""

import asyncio

import structlog

from actors.ports import StoredMessage, Streams
from actors.shard.crash_trail import CrashTrail
from actors.shard.dead_letters import EXCERPT_CHARS_MAX, TEXT_CHARS_MAX
from actors.shard.inputs import Input
from actors.shard.retry import retry_until_done
from engine.journal.events.shard import InputQuarantined

_log = structlog.get_logger()

TRIES = 2
"""How often an input must have ended its owner alone: once may be a kill that came by chance just
then.
"""
INPUTS_CAREFUL = 1_000
"""After so many inputs that went well an owner is careful no longer: a turn takes no more messages
than this.
"""
READ_S_MAX = 10.0


class CarefulMode:
    """Whether an owner is careful, and which input it must not decide."""

    def __init__(self, crashes: int) -> None:
        self._crashes = crashes
        self._left = 0
        self._suspect: Input | None = None
        self.tries = 0
        self.fences_after = 0

    def begin(self, trail: CrashTrail) -> None:
        """Learn how the former owners ended."""
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

    def quarantined(self, expected: str, excerpt: str) -> InputQuarantined:
        """Make the event that gives the poison up; it is suspected no longer."""
        assert self._suspect is not None
        _log.error("input_parked", input=self._suspect, tries=self.tries, alarm=True)
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


async def read_message(streams: Streams, stream: str, sequence: int) -> StoredMessage | None:
    """Read one message of a stream again; None when it is not there, or does not come in time."""
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
