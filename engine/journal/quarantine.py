"""Quarantine: the inputs that crashed their shard and were set aside.

A quarantined fill suspends its creator. Later fills still count in its portfolio, but followers
copy no entries until an operator has the quarantined fills decided again or voids them. A signal
that crashes a follower shard suspends its creator's entries in that shard. Exits are always copied.
State changes by applying events, as everywhere (P6).
"""

from dataclasses import dataclass, field

import numpy as np

from engine.columns.state import State, hash_64
from engine.journal.events.shard import InputQuarantined

WHOLE = -1
"""The position that stands for a whole message: it was quarantined before any part of it was taken.
"""


@dataclass(slots=True)
class Quarantine:
    """The number of inputs that a shard has quarantined, and the hashes of the commands among them,
    which may be sent again.
    """

    count: int = 0
    commands: set[int] = field(default_factory=set)

    def apply(self, event: InputQuarantined) -> None:
        """Count a quarantined input."""
        self.count += 1
        if not event.source:
            self.commands.add(hash_64(event.subject))

    def holds(self, command: str) -> bool:
        """Return whether a command was quarantined."""
        return bool(self.commands) and hash_64(command) in self.commands

    def state(self) -> State:
        """Return it as columns; no column while nothing is quarantined."""
        if not self.count:
            return {}
        return {"parked": np.array([self.count, *sorted(self.commands)], np.int64)}

    @classmethod
    def restored(cls, state: State) -> "Quarantine":
        """Take it back from a snapshot's columns."""
        if "parked" not in state:
            return cls()
        count, *commands = state["parked"].tolist()
        return cls(count, set(commands))
