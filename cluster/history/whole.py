"""All journals of a cluster read into tables at once: for those small enough to be held, such as a
replay's results.
"""

from typing import NamedTuple

from cluster.history.creators import CreatorTables
from cluster.history.followers import FollowerTables
from cluster.history.gateways import GatewayTables
from cluster.history.reader import FrameReader
from cluster.history.store import JournalStore
from engine.journal.frame import ShardKey, ShardKind


class Journals(NamedTuple):
    """Tables by shard, each with its replayed state."""

    creators: dict[int, CreatorTables]
    followers: dict[int, FollowerTables]
    gateways: dict[int, GatewayTables]


async def read_journals(store: JournalStore) -> Journals:
    """Read every journal to its end, as it is when reached. Raises: ChainBrokenError, FrameError,
    OperatingError.
    """
    creators = {shard: CreatorTables(shard) for shard in store.of_kind(ShardKind.CREATOR)}
    followers = {shard: FollowerTables(shard) for shard in store.of_kind(ShardKind.FOLLOWER)}
    gateways = {shard: GatewayTables(shard) for shard in store.of_kind(ShardKind.GATEWAY)}
    for creator in creators.values():
        async for frame in FrameReader(
            store.journal, ShardKey(ShardKind.CREATOR, creator.shard)
        ).frames():
            creator.add(frame)
    for follower in followers.values():
        async for frame in FrameReader(
            store.journal, ShardKey(ShardKind.FOLLOWER, follower.shard)
        ).frames():
            follower.add(frame)
    for gateway in gateways.values():
        async for frame in FrameReader(
            store.journal, ShardKey(ShardKind.GATEWAY, gateway.shard)
        ).frames():
            gateway.add(frame)
    return Journals(creators, followers, gateways)
