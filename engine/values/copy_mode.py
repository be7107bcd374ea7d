"""Copy modes: how an increase of a creator's position is sized for a subscription."""

from enum import IntEnum


class Mode(IntEnum):
    """The way in which an increase is sized."""

    PROPORTIONAL = 0
    FIXED_AMOUNT = 1
    MULTIPLIER = 2
