"""Options of the actors. The cluster checks them and passes them down."""

from enum import StrEnum

import msgspec

from engine.values.copy_policy import CopyPolicy
from engine.values.instruments import InstrumentTerms
from engine.values.units import NS_PER_S

ANSWER_S_MAX = 30


class OrderIds(StrEnum):
    """A broker's treatment of order ids. It decides how the gateway places orders (P9)."""

    REFUSED = "refused"
    """The broker refuses an id it has seen. An order without an answer is sent again. Effectively
    once.
    """
    LOOKED_UP = "looked_up"
    """The broker takes an id again, but says which ids it has. An order without an answer is looked
    up. Effectively once.
    """
    UNCHECKED = "unchecked"
    """The broker does neither. An order without an answer is left to an operator. At most once."""


class ShardSettings(msgspec.Struct, frozen=True):
    """The options that all shards of a cluster share."""

    creator_shards: int
    """The number of hashed creator shards; fixed when the cluster is created."""
    follower_shards: int
    """The number of hashed follower shards; fixed when the cluster is created."""
    brokers: tuple[str, ...] = ("paper",)
    """The names of the brokers that accounts may be opened at."""
    orders_per_s_max: dict[str, int] = {}
    """The most orders per second for a broker, by its name. A broker not named has no limit."""
    message_orders_max: dict[str, int] = {}
    """The most orders in one block for a broker, by its name. A broker not named takes blocks of
    any size that a gateway sends.
    """
    order_ids: dict[str, OrderIds] = {}
    """A broker's treatment of order ids, by its name. A broker not named refuses ids it has
    seen.
    """
    marks_source: str = ""
    """The one source whose marks value everybody; empty: each broker's marks value its own
    creators.
    """
    answer_s_max: dict[str, int] = {}
    """The seconds within which a broker answers, by its name. A broker not named has
    `ANSWER_S_MAX`.
    """
    cluster_id: str = ""
    """The id that gateways state to their brokers; empty: they state none."""
    accepted_ledgers: dict[str, str] = {}
    """A broker's ledger that an operator accepted in place of the one before, by the broker's
    name.
    """
    uses_event_clock: bool = False
    """Take the time from the inputs instead of the clock: for replays."""
    part_rows: int = 32_768
    """The most subscriptions decided in one part. Executions are taken between two parts."""
    frame_bytes_max: int = 1 << 20
    """The soft limit of a frame's size."""
    reports_wait_s: float = 0.01
    """After a frame, executions wait so long for another event that makes a frame. A frame of their
    own would cost as much, and orders would wait behind it.
    """
    inbox_commands_max: int = 200_000
    """The most commands that wait in a shard. Further ones are answered `busy`."""
    poison_crashes: int = 3
    """The next owner is careful once one owner fewer than this ended at one place of the inputs
    (`actors.shard.careful`).
    """
    snapshot_frames_every: int = 2_000
    """A snapshot is taken after so many frames."""
    snapshot_seconds_every: float = 60.0
    """A snapshot is taken after so many seconds, if there was a frame."""
    policy: CopyPolicy = CopyPolicy()
    """The rules and limits that orders are sized by."""
    default_instrument: InstrumentTerms = InstrumentTerms(100, 1_000_000)
    """Lot (1e-8) and minimum notional (micros) of instruments that `instruments` does not name."""
    instruments: dict[str, InstrumentTerms] = {}
    """Lot and minimum notional by symbol."""

    def answer_ns_max(self, broker: str) -> int:
        """Return the time within which a broker answers. Units: ns."""
        return self.answer_s_max.get(broker, ANSWER_S_MAX) * NS_PER_S
