"""Suspended creators of a creator shard, and their quarantined fills.

A quarantined fill suspends its creator. Later fills still count in its portfolio, but followers
copy no entries until an operator replays or voids the quarantined fills. State changes by applying
events (P6).
"""

from dataclasses import dataclass, field

import numpy as np

from engine.columns.snapshot import Records, StoredState, integers_column, required
from engine.columns.state import State
from engine.journal.events.creator import CreatorResumed, CreatorSuspended

SUSPENSION_RECORDS: Records = {
    "suspension.parked": required("creator", "sequence", "position"),
    "suspension.resumed": required("creator", "command", "count"),
}


@dataclass(slots=True)
class Suspension:
    """A creator's quarantined fills, by message and position. `resumed` counts the fills that each
    command settled, by the hash of the command's id.
    """

    quarantined: list[tuple[int, int]] = field(default_factory=list)
    resumed: dict[int, int] = field(default_factory=dict)


class Suspensions:
    """The creators of a shard that are suspended or once were, by number."""

    def __init__(self) -> None:
        self._of: dict[int, Suspension] = {}

    @property
    def count(self) -> int:
        """The number of creators that are suspended."""
        return sum(bool(suspension.quarantined) for suspension in self._of.values())

    def quarantined(self, creator: int) -> list[tuple[int, int]]:
        """A creator's quarantined fills in order of the ingress stream; empty if it is not
        suspended.
        """
        return sorted(self._of[creator].quarantined) if creator in self._of else []

    def settled_by(self, creator: int, command: int) -> int | None:
        """Return how many quarantined fills a command has settled, None if there was no such
        command.
        """
        return self._of[creator].resumed.get(command) if creator in self._of else None

    def decide_resume(
        self, creator: int, signal: int, *, is_replay: bool, command: int
    ) -> CreatorResumed:
        """Return the event that settles all quarantined fills of a creator."""
        quarantined = np.array(self.quarantined(creator), np.int64).reshape(-1, 2)
        return CreatorResumed(
            creator, signal, int(is_replay), command, quarantined[:, 0], quarantined[:, 1]
        )

    def apply(self, event: CreatorSuspended | CreatorResumed) -> None:
        """Change the state by one event."""
        suspension = self._of.setdefault(event.creator, Suspension())
        if isinstance(event, CreatorSuspended):
            suspension.quarantined.append((event.sequence, event.position))
        else:
            suspension.quarantined.clear()
            suspension.resumed[event.command] = len(event.sequences)

    def state(self) -> State:
        """Return everything as columns; no column while no creator was ever suspended."""
        if not self._of:
            return {}
        quarantined = [
            (number, *fill) for number in sorted(self._of) for fill in self.quarantined(number)
        ]
        resumed = [
            (number, *item)
            for number in sorted(self._of)
            for item in sorted(self._of[number].resumed.items())
        ]
        return {
            "suspension.parked": integers_column(quarantined),
            "suspension.resumed": integers_column(resumed),
        }

    def restore(self, stored: StoredState) -> None:
        """Take everything back from a snapshot."""
        for number, sequence, position in stored.integers("suspension.parked"):
            self._of.setdefault(number, Suspension()).quarantined.append((sequence, position))
        for number, command, count in stored.integers("suspension.resumed"):
            self._of.setdefault(number, Suspension()).resumed[command] = count
