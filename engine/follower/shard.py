"""A follower shard: its state, and the one way in for frames, live and on replay alike (P6).

Deciders (`engine.follower.decide`) read `state` and return events; appliers
(`engine.follower.apply`) change it.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from engine.columns.snapshot import StoredState
from engine.columns.state import State
from engine.columns.state_copy import StateCopy
from engine.follower.apply.events import apply_event, apply_events
from engine.follower.apply.replay import ReplayBatches
from engine.follower.snapshot_schema import FOLLOWER_SCHEMA
from engine.follower.state import FollowerState
from engine.journal.cursors import Cursor, Source
from engine.journal.frame import FrameHeader


class FollowerShard:
    """Every account, subscription, position and open order of one follower shard."""

    schema = FOLLOWER_SCHEMA

    def __init__(self, shard: int) -> None:
        self.state = FollowerState(shard)

    @property
    def cursors(self) -> dict[tuple[Source, int], Cursor]:
        """The cursor of each input."""
        return self.state.cursors

    @cursors.setter
    def cursors(self, cursors: dict[tuple[Source, int], Cursor]) -> None:
        self.state.cursors = cursors

    def apply(self, header: FrameHeader, events: list[Any]) -> None:
        """Change the state by a frame's events and take over its cursors."""
        self.apply_events(events)
        self.state.take_cursors(header)

    def apply_frames(self, frames: Sequence[tuple[FrameHeader, list[Any]]]) -> None:
        """Change the state by frames in their order, in fewer passes than one by one."""
        batches = ReplayBatches(self.state)
        for header, events in frames:
            batches.add(events)
            self.state.take_cursors(header)
        batches.apply()

    def apply_events(self, events: Sequence[Any]) -> None:
        """Change the state by events in their order. Successive events about different books
        share a pass.
        """
        apply_events(self.state, events)

    def apply_event(self, event: Any) -> None:
        """Change the state by one event."""
        apply_event(self.state, event)

    def apply_each(self, decided: Iterable[Any], events: list[Any]) -> None:
        """Change the state by each event before the next is decided, and add it to a frame's."""
        for event in decided:
            apply_event(self.state, event)
            events.append(event)

    def columns(self) -> State:
        """The whole state as named columns, for the hash."""
        return self.state.columns()

    def copy(self) -> StateCopy:
        """Begin to encode the state as it is now, for a snapshot."""
        return self.state.copy()

    def restore(self, stored: StoredState) -> None:
        """Take a state back from a snapshot, into a new shard."""
        self.state.restore(stored)
