"""One creator shard's fills, found by signal number and by creator."""

import numpy as np

from engine.history.creators import CreatorTables, Fills
from engine.history.storage import Ints


class FillIndex:
    """Fills as the follower side finds them. The signals of a creator shard ascend, so nothing is
    sorted.
    """

    def __init__(self, tables: CreatorTables) -> None:
        self.tables = tables
        self.fills: Fills = tables.fills()
        repeats = np.repeat(np.arange(self.fills.rows_count), self.fills.legs_counts)
        firsts = np.cumsum(self.fills.legs_counts) - self.fills.legs_counts
        legs = np.arange(len(repeats)) - firsts[repeats]
        self._frames = self.fills.frames[repeats]
        self._positions = self.fills.signals[repeats] << 1 | legs
        creators = self.fills.creators[repeats]
        self._order = np.argsort(creators, kind="stable")
        self._creators = creators[self._order]

    def rows_of(self, signals: Ints) -> Ints:
        """Find fills by signal number. Returns: rows, -1 where there is none."""
        have = self.fills.signals
        if not len(have):
            return np.full(len(signals), -1, np.int64)
        at = np.searchsorted(have, signals)
        at[at == len(have)] = 0
        rows: Ints = np.where(have[at] == signals, at, -1)
        return rows

    def legs_of(self, creator: int) -> tuple[Ints, Ints]:
        """Return the frames and the positions (signal << 1 | leg) of all signals of a creator, in
        order.
        """
        first, last = np.searchsorted(self._creators, [creator, creator + 1])
        chosen = self._order[first:last]
        return self._frames[chosen], self._positions[chosen]
