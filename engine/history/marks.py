"""A digest of the marks that a fill was valued at, by which the decisions about it are compared."""

from hashlib import blake2b

from engine.journal.events.creator import FillApplied
from engine.journal.events.orders import SignalDecided


def marks_digest(event: FillApplied | SignalDecided) -> int:
    """Hash an event's marks to 64 bits, signed (BLAKE2b)."""
    digest = blake2b(event.mark_instruments.tobytes(), digest_size=8)
    digest.update(event.mark_prices.tobytes())
    return int.from_bytes(digest.digest(), "little", signed=True)
