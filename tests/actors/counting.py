"""The counters of a shard actor as its progress would show them now."""

from actors.counters import Counters
from actors.shard.hooks import ShardHooks


def counted(actor: ShardHooks) -> Counters:
    """Return what the actor reads from its state; what it counts as it happens is in its core."""
    counters = Counters()
    actor.count_into(counters)
    return counters
