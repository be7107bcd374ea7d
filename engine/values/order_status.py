"""The life of an order, in FIX terms: OrdStatus (tag 39), ExecType (tag 150), and the status after
each report.

    (planned) -> PENDING_NEW -> NEW -> PARTIALLY_FILLED -> FILLED
                     |           |           |
                     +-----------+-----------+--> PENDING_CANCEL -> CANCELED
                     +-----------+-----------+--> CANCELED | EXPIRED | REJECTED

A fill may come before the acknowledgement, and after a cancel was requested. A terminal order takes
only a trade cancel or correct (`engine.follower.decide.corrections`), which may reopen it.
"""

from enum import IntEnum


class OrdStatus(IntEnum):
    """FIX OrdStatus; the values are the FIX characters' codes."""

    NEW = ord("0")
    PARTIALLY_FILLED = ord("1")
    FILLED = ord("2")
    CANCELED = ord("4")
    PENDING_CANCEL = ord("6")
    REJECTED = ord("8")
    PENDING_NEW = ord("A")
    EXPIRED = ord("C")


class ExecType(IntEnum):
    """FIX ExecType; the values are the FIX characters' codes."""

    NEW = ord("0")
    CANCELED = ord("4")
    REJECTED = ord("8")
    EXPIRED = ord("C")
    TRADE = ord("F")
    TRADE_CORRECT = ord("G")
    TRADE_CANCEL = ord("H")


OPEN = frozenset(
    {OrdStatus.PENDING_NEW, OrdStatus.NEW, OrdStatus.PARTIALLY_FILLED, OrdStatus.PENDING_CANCEL}
)
TERMINAL = frozenset(OrdStatus) - OPEN

STATUS_OF_END = {
    ExecType.CANCELED: OrdStatus.CANCELED,
    ExecType.REJECTED: OrdStatus.REJECTED,
    ExecType.EXPIRED: OrdStatus.EXPIRED,
}
ENDS = tuple(STATUS_OF_END)
"""The reports that end an order although a quantity is left."""
CORRECTIONS = (ExecType.TRADE_CANCEL, ExecType.TRADE_CORRECT)
"""The reports that take a trade back or change it."""

TRANSITIONS: dict[tuple[OrdStatus, ExecType], OrdStatus] = {
    (OrdStatus.PENDING_NEW, ExecType.NEW): OrdStatus.NEW,
    # A late acknowledgement changes nothing.
    (OrdStatus.NEW, ExecType.NEW): OrdStatus.NEW,
    (OrdStatus.PARTIALLY_FILLED, ExecType.NEW): OrdStatus.PARTIALLY_FILLED,
    (OrdStatus.PENDING_CANCEL, ExecType.NEW): OrdStatus.PENDING_CANCEL,
    **{(status, exec_type): end for status in OPEN for exec_type, end in STATUS_OF_END.items()},
}


def next_status(
    status: OrdStatus, exec_type: ExecType, *, leaves_quantity: int
) -> OrdStatus | None:
    """Return the status after a report, or None when the order cannot take it.

    `leaves_quantity` is what remains of the order after this execution, never negative: the caller
    has refused an overfill. Units: 1e-8.
    """
    assert leaves_quantity >= 0
    if exec_type is ExecType.TRADE and status in OPEN:
        if leaves_quantity == 0:
            return OrdStatus.FILLED
        return (
            OrdStatus.PENDING_CANCEL
            if status is OrdStatus.PENDING_CANCEL
            else OrdStatus.PARTIALLY_FILLED
        )
    return TRANSITIONS.get((status, exec_type))
