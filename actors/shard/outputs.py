"""Outputs that a shard sends besides those of its own frames.

FramelessAnswers   answers to requests that need no frame
OwedOutputs        outputs of the former owner's last frame
letters_of         dead letters of a frame's refused and quarantined inputs
"""

import asyncio
from collections.abc import Iterable
from typing import Any

from actors.counters import Counters
from actors.ports import Request, Streams
from actors.shard.committer import Output
from actors.shard.dead_letters import dead_letters
from actors.shard.hooks import ShardHooks
from actors.shard.standing import ShardStanding
from engine.journal.events.shard import InputQuarantined, InputsRefused, OwnerFenced
from engine.journal.frame import ShardKey

ANSWERS_MAX = 1_000
"""At most so many answers wait for a turn. A client that gets none asks again."""


def letters_of(key: ShardKey, streams: Streams, events: Iterable[Any]) -> list[Output]:
    """Make the dead letters of the inputs that some events refuse or quarantine."""
    return [
        letter
        for event in events
        if isinstance(event, InputsRefused | InputQuarantined)
        for letter in dead_letters(key, streams, event)
    ]


class FramelessAnswers:
    """Answers that wait for the next frame, or for a moment in which none is on its way."""

    def __init__(self, arrived: asyncio.Event, counters: Counters) -> None:
        self._arrived = arrived
        self._counters = counters
        self._waiting: list[Output] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, request: Request, answer: bytes) -> None:
        """Answer a request soon. An answer beyond `ANSWERS_MAX` is dropped and counted."""
        if len(self._waiting) < ANSWERS_MAX:
            self._waiting.append(lambda: request.reply(answer))
            self._arrived.set()
        else:
            self._counters.answers_dropped += 1

    def take(self) -> list[Output]:
        """Take all answers that wait."""
        waiting, self._waiting = self._waiting, []
        return waiting


class OwedOutputs:
    """The outputs of the former owner's last frame.

    The former owner may have died between that frame and its outputs, so they are sent again under
    the same message ids. Outputs of earlier frames were sent: a frame leaves only after those of
    the frame before.
    """

    def __init__(self, standing: ShardStanding, streams: Streams, hooks: ShardHooks) -> None:
        self._standing = standing
        self._streams = streams
        self._hooks = hooks
        self._owed: list[Output] = []

    def replay(self, events: list[Any]) -> None:
        """Take the events of the next replayed frame. A fence leaves the debt as it is."""
        if events and all(isinstance(event, OwnerFenced) for event in events):
            return
        self._owed = []
        for event in events:
            self._owed += letters_of(self._standing.key, self._streams, (event,))
            self._owed += self._hooks.on_replayed(event)

    async def pay(self) -> None:
        """Send what is owed. It must be done before this owner's first frame."""
        owed, self._owed = self._owed, []
        if owed:
            self._standing.is_deciding = True
            await asyncio.gather(*(output() for output in owed), return_exceptions=True)
            self._standing.is_deciding = False
