"""The questions that a shard's core asks its actor, and the moments it tells it of."""

from typing import Any, Protocol

from actors.counters import Counters
from actors.shard.committer import Output


class ShardHooks(Protocol):
    """The part of a shard actor that its core calls between turns.

    Every kind of shard answers each of them. The core calls none while the actor is being made.
    """

    def overlaps(self) -> bool:
        """Return whether to take a turn while a frame is on its way.

        Small frames should not: inputs that arrive meanwhile share the next frame. A frame made
        early would wait for the one before, and every input behind it would wait for both
        (`latency`).
        """
        ...

    def keeps_back(self) -> bool:
        """Return whether the state holds events that are in no frame yet."""
        ...

    def count_into(self, counters: Counters) -> None:
        """Set the counters that are read from the state: its progress is about to show them."""
        ...

    def dedicated_shards(self) -> tuple[int, ...]:
        """Return the shards of dedicated accounts that were opened in this shard."""
        ...

    def on_replayed(self, event: Any) -> list[Output]:
        """Return the outputs of a replayed event that the former owner may not have sent."""
        ...

    def on_snapshot(self) -> None:
        """Bring the state to a point that an owner can go on from: a snapshot follows."""
        ...
