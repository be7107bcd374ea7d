"""Dispositions: the outcome of one signal for one subscription. There is always exactly one
(P2).
"""

from enum import IntEnum


class Disposition(IntEnum):
    """ORDERED, NETTED (an open order is cancelled first), or the reason of a skip. INACTIVE is no
    disposition: the subscription was not active.
    """

    INACTIVE = 0
    ORDERED = 1
    NETTED = 2
    CREATOR_EQUITY = 10
    SUBSCRIPTION_EQUITY = 11
    SHORT_NOT_ALLOWED = 12
    CREATOR_SUSPENDED = 13
    PAUSED = 14
    INSTRUMENT_DENIED = 15
    ENTRY_WINDOW = 16
    MAX_ORDER_NOTIONAL = 17
    MAX_POSITION_WEIGHT = 18
    AVAILABLE_CASH = 19
    BELOW_LOT = 20
    BELOW_MIN_NOTIONAL = 21
    NO_POSITION = 22
    OUT_OF_RANGE = 23

    @property
    def outcome(self) -> str:
        """`ordered`, `netted` or `skipped`."""
        return self.name.lower() if self <= Disposition.NETTED else "skipped"

    @property
    def reason(self) -> str:
        """The reason of a skip, else empty."""
        return self.name.lower() if self > Disposition.NETTED else ""
