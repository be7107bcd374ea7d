"""Replay of many frames in few passes.

A frame of a live shard holds a signal or two and the executions of earlier ones. Applied frame by
frame, a replay would cost mostly its numpy calls. Events about different books do not depend on one
another, so signals and executions of different books may change places. Each goes into the first
batch in which no event is about its book yet. So it stays behind all earlier events of that book. A
batch is applied in the passes that a live shard uses (`engine.follower.sizing.batch`). Every other
event waits for those before it, and those after it wait for it. The state is the same, bit for bit,
as that of one event after the other (P4, P6).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from engine.follower.apply.events import apply_event, apply_events
from engine.follower.state import FollowerState
from engine.journal.events.orders import ExecutionsApplied, SignalDecided
from engine.values.order_ids import OrderKey

_Creator = tuple[int, int]
"""The key of a book: its creator's shard and number."""


class ReplayBatches:
    """Gathers events into batches and applies them. A last `apply` applies what is left."""

    def __init__(
        self,
        state: FollowerState,
        apply_pass: Callable[[FollowerState, Sequence[Any]], None] = apply_events,
    ) -> None:
        self._state = state
        self._apply_pass = apply_pass
        self._batches: list[tuple[list[Any], list[Any]]] = []
        """Signals and executions of each batch, no two about one book."""
        self._depth: dict[_Creator, int] = {}
        """The number of batches that a book is in."""
        self._creator_of: dict[OrderKey, _Creator] = {}
        """The creator of a gathered signal, by the key of its orders: they are not open yet."""

    def add(self, events: Iterable[Any]) -> None:
        """Gather the next events."""
        for event in events:
            creator = self._creator(event)
            if creator is None:
                self.apply()
                apply_event(self._state, event)
                continue
            depth = self._depth.get(creator, 0)
            if depth == len(self._batches):
                self._batches.append(([], []))
            self._depth[creator] = depth + 1
            signals, executions = self._batches[depth]
            (signals if type(event) is SignalDecided else executions).append(event)

    def _creator(self, event: Any) -> _Creator | None:
        """Return the creator whose book a signal or executions are about, None for any other
        event.
        """
        if type(event) is SignalDecided:
            creator = event.creator_shard, event.creator
            self._creator_of[event.key] = creator
            return creator
        if type(event) is not ExecutionsApplied:
            return None
        key = event.key
        found = self._creator_of.get(key)
        if found is not None:
            return found
        creators = {(b.book.creator_shard, b.book.creator) for b in self._state.orders.of_key(key)}
        return creators.pop() if len(creators) == 1 else None

    def apply(self) -> None:
        """Apply what is gathered."""
        for signals, executions in self._batches:
            self._apply_pass(self._state, signals)
            self._apply_pass(self._state, executions)
        self._batches.clear()
        self._depth.clear()
        self._creator_of.clear()
