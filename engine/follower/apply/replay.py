"""ReplayBatches: the events of many frames, applied in few passes.

A frame of a live shard holds a signal or two and the executions of those before, so frame by frame
a replay costs its numpy calls. But what is about one book is nothing to another: signals and
executions of different books may change places. So each goes into the first batch in which nothing
is about its book yet, behind all that came before it for that book, and a batch is applied in the
passes that live shards use for signals that came batched (`engine.follower.sizing.batch`).
Everything else waits for what was before it, and what follows waits for it. The state is bit for
bit that of one event after the other (P4, P6).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from engine.follower.apply.events import apply_event, apply_events
from engine.follower.state import FollowerState
from engine.journal.events.orders import ExecutionsApplied, SignalDecided
from engine.values.order_ids import CauseKind, OrderKey, key_of

_SIGNAL = int(CauseKind.SIGNAL)
_Creator = tuple[int, int]
"""What names a book: its creator's shard and number."""


class ReplayBatches:
    """Gathers events and applies them; `apply` at the end applies what is left."""

    def __init__(
        self,
        shard: FollowerState,
        apply_pass: Callable[[FollowerState, Sequence[Any]], None] = apply_events,
    ) -> None:
        self._shard = shard
        self._apply_pass = apply_pass
        self._batches: list[tuple[list[Any], list[Any]]] = []
        """Signals and executions of each batch, no two about one book."""
        self._depth: dict[_Creator, int] = {}
        """How many batches a book is in."""
        self._creator_of: dict[OrderKey, _Creator] = {}
        """Whom the orders of a gathered signal follow: they are not open yet."""

    def add(self, events: Iterable[Any]) -> None:
        """Take events that come next."""
        for event in events:
            creator = self._creator(event)
            if creator is None:
                self.apply()
                apply_event(self._shard, event)
                continue
            depth = self._depth.get(creator, 0)
            if depth == len(self._batches):
                self._batches.append(([], []))
            self._depth[creator] = depth + 1
            signals, executions = self._batches[depth]
            (signals if type(event) is SignalDecided else executions).append(event)

    def _creator(self, event: Any) -> _Creator | None:
        """Name the one book that a signal or executions are about; None for everything else."""
        if type(event) is SignalDecided:
            creator = event.creator_shard, event.creator
            self._creator_of[OrderKey(_SIGNAL, event.creator_shard, event.signal, event.leg, 0)] = (
                creator
            )
            return creator
        if type(event) is not ExecutionsApplied:
            return None
        key = key_of(event)
        found = self._creator_of.get(key)
        if found is not None:
            return found
        creators = {(b.book.creator_shard, b.book.creator) for b in self._shard.orders.blocks(key)}
        return creators.pop() if len(creators) == 1 else None

    def apply(self) -> None:
        """Apply what is gathered."""
        for signals, executions in self._batches:
            self._apply_pass(self._shard, signals)
            self._apply_pass(self._shard, executions)
        self._batches.clear()
        self._depth.clear()
        self._creator_of.clear()
