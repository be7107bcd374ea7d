"""Copy modes: the ways to size an increase of a creator's position for a subscription."""

from enum import IntEnum


class Mode(IntEnum):
    """The copy mode of a subscription."""

    PROPORTIONAL = 0
    FIXED_AMOUNT = 1
    MULTIPLIER = 2
