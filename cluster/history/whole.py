"""All journals of a cluster, read into tables at once: for journals small enough to be held, such
as the results of a replay.
"""

from typing import NamedTuple

from actors.history_reader import FrameReader
from cluster.history.store import JournalStore
from engine.history.creators import CreatorTables
from engine.history.followers import FollowerTables
from engine.history.gateways import GatewayTables
from engine.journal.frame import ShardKey, ShardKind


class Journals(NamedTuple):
    """Tables by shard, each with its replayed state."""

    creators: dict[int, CreatorTables]
    followers: dict[int, FollowerTables]
    gateways: dict[int, GatewayTables]


async def read_journals(store: JournalStore) -> Journals:
    """Read every journal up to its end at the moment it is reached. Raises: ChainBrokenError,
    FrameError, OperatingError.
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
