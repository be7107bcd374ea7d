"""A slot: one instrument in a book, with the values of every row.

The values are the target t, the position p, the signed remainder o of the open orders, and the cost
of building the position (negative: a short's proceeds).
"""

import numpy as np
from numpy.typing import NDArray

from engine.columns.arithmetic import Int64s
from engine.follower.follow_ups import FollowUps
from engine.values.units import POSITION_UNKNOWN

VALUE_FIELDS = ("target", "position", "open", "cost")
"""The rows of a slot's values."""
SLOT_FIELDS = ("instrument", "lot", "min_notional", "mark", "creator_position")
"""The words of a slot before its values."""
SLOT_HASHED_COUNT = 4
"""The number of them that are in the state's hash."""


class Slot:
    """One instrument in a book."""

    __slots__ = (
        "creator_position",
        "follow_ups",
        "index",
        "instrument",
        "lot",
        "mark",
        "min_notional",
        "values",
    )

    def __init__(
        self, index: int, instrument: int, lot: int, min_notional: int, values: NDArray[np.int64]
    ) -> None:
        self.index = index
        self.instrument = instrument
        self.lot = lot
        self.min_notional = min_notional
        self.mark = 0
        """The creator's mark at the last signal that the book answered. Units: micros."""
        self.creator_position = POSITION_UNKNOWN
        """The creator's position after the last signal of this instrument that the book answered.
        Units: 1e-8, signed.
        """
        self.values = values
        self.follow_ups = FollowUps()

    @property
    def target(self) -> Int64s:
        """The quantity that each row should hold. Units: 1e-8, signed."""
        target: Int64s = self.values[0]
        return target

    @property
    def position(self) -> Int64s:
        """The quantity that each row holds. Units: 1e-8, signed."""
        position: Int64s = self.values[1]
        return position

    @property
    def open(self) -> Int64s:
        """The rest of each row's open orders. Units: 1e-8, signed."""
        open_: Int64s = self.values[2]
        return open_

    @property
    def cost(self) -> Int64s:
        """The cost at which each row's position was built. Units: micros, negative for shorts."""
        cost: Int64s = self.values[3]
        return cost
