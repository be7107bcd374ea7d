"""Options of the actors, as the cluster passes them down: frozen, checked there, one line each."""

from enum import StrEnum

import msgspec

from engine.values.copy_policy import CopyPolicy
from engine.values.instruments import InstrumentTerms


class OrderIds(StrEnum):
    """What a broker does with the order ids it is sent, and so how its orders are placed (P9)."""

    REFUSED = "refused"
    """It refuses an id it has seen: what was not answered is simply sent again. Effectively once.
    """
    LOOKED_UP = "looked_up"
    """It takes an id again, but says which it has: what was not answered is asked after.
    Effectively once.
    """
    UNCHECKED = "unchecked"
    """It does neither: what was not answered is parked for an operator. At most once."""


class ShardSettings(msgspec.Struct, frozen=True):
    """What every shard of a cluster shares."""

    creator_shards: int
    """How many hashed creator shards there are; fixed when the cluster is created."""
    follower_shards: int
    """How many hashed follower shards there are; fixed when the cluster is created."""
    brokers: tuple[str, ...] = ("paper",)
    """Names of the brokers that accounts may be opened at."""
    orders_per_s_max: dict[str, int] = {}
    """Most orders a second that a broker takes, by its name; one not named has no limit."""
    order_ids: dict[str, OrderIds] = {}
    """What a broker does with order ids, by its name; one not named refuses those it has seen."""
    uses_event_clock: bool = False
    """Take the time from the inputs instead of the wall: for replays."""
    part_rows: int = 32_768
    """Most subscriptions decided in one part, between which executions are taken."""
    frame_bytes_max: int = 1 << 20
    """Soft cap of a frame's size."""
    reports_wait_s: float = 0.01
    """So long after a frame executions wait for the next that is made anyway: one of their own
    costs as much, and orders wait behind it.
    """
    inbox_commands_max: int = 200_000
    """Most commands waiting in a shard; beyond it, new ones are answered `busy`."""
    poison_crashes: int = 3
    """Ends of a shard's owners at one place of its inputs after which the input there is parked
    with the next.
    """
    snapshot_frames_every: int = 2_000
    """Take a snapshot after so many frames."""
    snapshot_seconds_every: float = 60.0
    """Take a snapshot after so many seconds in which there was a frame."""
    terms: CopyPolicy = CopyPolicy()
    """What sizing depends on."""
    default_instrument: InstrumentTerms = InstrumentTerms(100, 1_000_000)
    """Lot (1e-8) and minimum notional (micros) of instruments that `instruments` does not name."""
    instruments: dict[str, InstrumentTerms] = {}
    """Lot and minimum notional by symbol."""
