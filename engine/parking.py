"""What shards have set aside: inputs that crashed their shard, and the creators suspended for it.

A parked fill suspends its creator: later fills still count in its portfolio, but followers copy no entries until an operator has the parked
fills decided again or voids them. A signal that crashes a follower shard suspends its creator's entries in that shard. Exits are always
copied. State changes by applying events, as everywhere (P6).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engine.events.creator import CreatorResumed, CreatorSuspended
from engine.events.shard import InputParked
from engine.events.subscriptions import EntriesResumed, EntriesSuspended
from engine.tables import State, hash_64

WHOLE = -1
"""Position of a parked message of which nothing was taken."""


@dataclass(slots=True)
class Parking:
    """How many inputs a shard has parked, and by their hashes which commands, for those are sent again."""

    count: int = 0
    commands: set[int] = field(default_factory=set)

    def apply(self, event: InputParked) -> None:
        """Count a parked input."""
        self.count += 1
        if not event.source:
            self.commands.add(hash_64(event.subject))

    def holds(self, command: str) -> bool:
        """Say whether a command was parked."""
        return bool(self.commands) and hash_64(command) in self.commands

    def state(self) -> State:
        """Name it as columns, none while nothing is parked."""
        if not self.count:
            return {}
        return {"parked": np.array([self.count, *sorted(self.commands)], np.int64)}

    @classmethod
    def restored(cls, state: State) -> "Parking":
        """Take it back from a state."""
        if "parked" not in state:
            return cls()
        count, *commands = state["parked"].tolist()
        return cls(count, set(commands))


@dataclass(slots=True)
class Suspension:
    """A creator's parked fills, by message and position, and what each command that resumed it has settled."""

    parked: list[tuple[int, int]] = field(default_factory=list)
    resumed: dict[int, int] = field(default_factory=dict)


class Suspensions:
    """The suspended creators of a creator shard, by number; and those that once were."""

    def __init__(self) -> None:
        self._of: dict[int, Suspension] = {}

    @property
    def count(self) -> int:
        """How many creators are suspended now."""
        return sum(bool(suspension.parked) for suspension in self._of.values())

    def parked(self, creator: int) -> list[tuple[int, int]]:
        """Name a creator's parked fills in order of the ingress stream, none while it is not suspended."""
        return sorted(self._of[creator].parked) if creator in self._of else []

    def settled_by(self, creator: int, command: int) -> int | None:
        """Say how many parked fills a command has settled; None when it has not been done."""
        return self._of[creator].resumed.get(command) if creator in self._of else None

    def decide_resume(self, creator: int, signal: int, *, is_replay: bool, command: int) -> CreatorResumed:
        """Settle everything that is parked of a creator."""
        parked = np.array(self.parked(creator), np.int64).reshape(-1, 2)
        return CreatorResumed(creator, signal, int(is_replay), command, parked[:, 0], parked[:, 1])

    def apply(self, event: CreatorSuspended | CreatorResumed) -> None:
        """Change the state by one event."""
        suspension = self._of.setdefault(event.creator, Suspension())
        if isinstance(event, CreatorSuspended):
            suspension.parked.append((event.sequence, event.position))
        else:
            suspension.parked.clear()
            suspension.resumed[event.command] = len(event.sequences)

    def state(self) -> State:
        """Name everything as columns, none while there is nothing."""
        if not self._of:
            return {}
        parked = [(number, *fill) for number in sorted(self._of) for fill in self.parked(number)]
        resumed = [
            (number, *item)
            for number in sorted(self._of)
            for item in sorted(self._of[number].resumed.items())
        ]
        return {
            "suspension.parked": np.array(parked, np.int64).reshape(-1),
            "suspension.resumed": np.array(resumed, np.int64).reshape(-1),
        }

    def restore(self, state: State) -> None:
        """Take everything back."""
        if "suspension.parked" not in state:
            return
        for number, sequence, position in state["suspension.parked"].reshape(-1, 3).tolist():
            self._of.setdefault(number, Suspension()).parked.append((sequence, position))
        for number, command, count in state["suspension.resumed"].reshape(-1, 3).tolist():
            self._of.setdefault(number, Suspension()).resumed[command] = count


class SuspendedEntries:
    """The creators whose entries a follower shard does not copy: by creator shard and number, the parked signal, or 0."""

    def __init__(self) -> None:
        self._signals: dict[tuple[int, int], int] = {}

    def __len__(self) -> int:
        return len(self._signals)

    def skips(self, creator_shard: int, creator: int, signal: int, *, is_increase: bool) -> bool:
        """Say whether a leg of a signal moves nothing: an entry, or any leg of the parked signal."""
        parked = self._signals.get((creator_shard, creator))
        return parked is not None and (is_increase or parked == signal)

    def learn(self, creator_shard: int, event: Any) -> Iterator[EntriesSuspended | EntriesResumed]:
        """Follow what a creator shard says of its creators. A signal parked here since then stays parked when it is read again."""
        if isinstance(event, CreatorSuspended):
            if (creator_shard, event.creator) not in self._signals:
                yield EntriesSuspended(creator_shard, event.creator, 0)
        elif isinstance(event, CreatorResumed):
            parked = self._signals.get((creator_shard, event.creator))
            if parked is not None and parked < event.signal:
                yield EntriesResumed(creator_shard, event.creator)

    def apply(self, event: EntriesSuspended | EntriesResumed) -> None:
        """Change the state by one event."""
        key = event.creator_shard, event.creator
        if isinstance(event, EntriesSuspended):
            self._signals[key] = event.signal
        else:
            self._signals.pop(key, None)

    def state(self) -> State:
        """Name everything as columns, none while there is nothing."""
        if not self._signals:
            return {}
        rows = [(*key, signal) for key, signal in sorted(self._signals.items())]
        return {"suspended_entries": np.array(rows, np.int64).reshape(-1)}

    def restore(self, state: State) -> None:
        """Take everything back."""
        if "suspended_entries" in state:
            rows = state["suspended_entries"].reshape(-1, 3).tolist()
            self._signals = {(shard, creator): signal for shard, creator, signal in rows}
