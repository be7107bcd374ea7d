"""The kinds of shards that a cluster has, as one table: how many shards and hosts of each.

A new kind is a row here, and a row in `actors.host.shard_kinds`, which says how a host runs it.
"""

from collections.abc import Callable
from typing import NamedTuple

from cluster.config.options import Config
from engine.journal.frame import ShardKind


class PlacedKind(NamedTuple):
    """One kind of shard, as a cluster numbers and spreads it. Shards are numbered from 0."""

    kind: ShardKind
    shards_count: Callable[[Config], int]
    """The number of shards that every cluster of this configuration has."""
    hosts_count: Callable[[Config], int]
    """The number of hosts that those shards are spread over."""
    has_dedicated: bool = False
    """True if an account may have a shard of its own. Such a shard's number follows the others;
    the account's home shard chooses it and tells of it in its progress.
    """

    @property
    def name(self) -> str:
        """The kind's name in subjects, heartbeats and host specs."""
        return self.kind.name.lower()


PLACED_KINDS = (
    PlacedKind(
        ShardKind.CREATOR,
        lambda config: config.cluster.creator_shards,
        lambda config: config.cluster.creator_hosts,
    ),
    PlacedKind(
        ShardKind.FOLLOWER,
        lambda config: config.cluster.follower_shards,
        lambda config: config.cluster.follower_hosts,
        has_dedicated=True,
    ),
    PlacedKind(
        ShardKind.GATEWAY,
        lambda config: len(config.brokers),
        lambda config: len(config.brokers),
    ),
)
"""In the order in which hosts are started and shown."""
KIND_NAMES = tuple(placed.name for placed in PLACED_KINDS)
