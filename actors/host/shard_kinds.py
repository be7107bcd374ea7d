"""The kinds of shards that a host can run, as one table.

A new kind is a row here, and a row in `cluster.placement.kinds`, which says how many shards and
hosts of it a cluster has.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from actors.broker_gateway.actor import BrokerGatewayShardActor
from actors.creator.actor import CreatorShardActor
from actors.follower.actor import FollowerShardActor
from actors.ports import Broker, Ports
from actors.settings import ShardSettings
from actors.shard.core import ShardActor
from actors.shard.turn_gate import TurnGate
from engine.journal.frame import ShardKind


class ShardOwner(NamedTuple):
    """A new owner of a shard, and all that its actor is made of. The shards of a host share `gate`.

    `incarnation` is the owner's name, which no other owner of the shard ever has. `brokers` are by
    gateway shard.
    """

    shard: int
    incarnation: str
    ports: Ports
    settings: ShardSettings
    gate: TurnGate
    brokers: Mapping[int, tuple[str, Broker]]


class ShardKindSpec(NamedTuple):
    """One kind of shard, as a host runs it."""

    kind: ShardKind
    process_name: str
    """The name that a host's process shows."""
    make: Callable[[ShardOwner], ShardActor]
    takes_account_commands: bool = False
    """True if its hosts listen to commands for accounts (`actors.host.command_router`)."""

    @property
    def name(self) -> str:
        """The kind's name in subjects, heartbeats and host specs."""
        return self.kind.name.lower()


def _creator(owner: ShardOwner) -> ShardActor:
    return CreatorShardActor(
        owner.shard, owner.incarnation, owner.ports, owner.settings, owner.gate
    )


def _follower(owner: ShardOwner) -> ShardActor:
    return FollowerShardActor(
        owner.shard, owner.incarnation, owner.ports, owner.settings, owner.gate
    )


def _gateway(owner: ShardOwner) -> ShardActor:
    name, broker = owner.brokers[owner.shard]
    return BrokerGatewayShardActor(
        owner.shard,
        owner.incarnation,
        owner.ports,
        owner.settings,
        owner.gate,
        name=name,
        broker=broker,
    )


SHARD_KINDS: dict[str, ShardKindSpec] = {
    spec.name: spec
    for spec in (
        ShardKindSpec(ShardKind.CREATOR, "CreatorActor", _creator),
        ShardKindSpec(ShardKind.FOLLOWER, "FollowerActor", _follower, takes_account_commands=True),
        ShardKindSpec(ShardKind.GATEWAY, "BrokerGatewayActor", _gateway),
    )
}
"""By name, in the order in which people are shown the kinds."""
