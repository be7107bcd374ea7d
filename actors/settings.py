"""Options of the actors, as the cluster passes them down: frozen, checked there, one line each."""

import msgspec

from engine.creator import InstrumentTerms
from engine.sizing import Terms


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
    uses_event_clock: bool = False
    """Take the time from the inputs instead of the wall: for replays."""
    part_rows: int = 32_768
    """Most subscriptions decided in one part, between which executions are taken."""
    frame_bytes_max: int = 1 << 20
    """Soft cap of a frame's size."""
    inbox_commands_max: int = 200_000
    """Most commands waiting in a shard; beyond it, new ones are answered `busy`."""
    poison_crashes: int = 3
    """Ends of a shard's owners at one place of its inputs after which the input there is parked with the next."""
    snapshot_frames_every: int = 2_000
    """Take a snapshot after so many frames."""
    snapshot_seconds_every: float = 60.0
    """Take a snapshot after so many seconds in which there was a frame."""
    terms: Terms = Terms()
    """What sizing depends on."""
    default_instrument: InstrumentTerms = InstrumentTerms(100, 1_000_000)
    """Lot (1e-8) and minimum notional (micros) of instruments that `instruments` does not name."""
    instruments: dict[str, InstrumentTerms] = {}
    """Lot and minimum notional by symbol."""
