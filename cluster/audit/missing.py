"""The first signal that a subscription did not answer exactly once. Finding it takes a second, slow
reading of one shard's journal, only after a fault.
"""

from actors.history_reader import FrameReader
from actors.ports import Journal
from cluster.audit.shards import FollowerSide
from engine.journal.chain import ChainBrokenError
from engine.journal.events.orders import SignalDecided
from engine.journal.frame import FrameError, ShardKey, ShardKind
from engine.values.dispositions import Disposition


async def name_missing(journal: Journal, follower: FollowerSide, subscription: int) -> str:
    """Return a sentence about the first signal with no or several dispositions for a subscription;
    empty when none is found.
    """
    answered = await _answered(journal, follower.shard, subscription)
    table = follower.tables.subscriptions
    creator_shard, creator = (
        int(table["creator_shard"][subscription]),
        int(table["creator"][subscription]),
    )
    index = follower.fills.get(creator_shard)
    if index is None:
        return ""
    frames, positions = index.legs_of(creator)
    active = (frames >= table["from_frame"][subscription]) & (
        frames < table["until_frame"][subscription]
    )
    for position in positions[active].tolist():
        times = answered.count(position)
        if times != 1:
            row = int(index.rows_of(positions[positions == position] >> 1)[0])
            what = "no disposition" if times == 0 else f"{times} dispositions"
            who = f"account {follower.tables.account_of(subscription)}, subscription {subscription}"
            signal = (
                f"signal {position >> 1}, leg {position & 1} (fill {index.fills.exec_ids[row]})"
            )
            return (
                f"follower shard {follower.shard}, {who}: expected one "
                f"disposition of {signal}, found {what}"
            )
    return ""


async def _answered(journal: Journal, shard: int, subscription: int) -> list[int]:
    """Return the positions (signal << 1 | leg) of a subscription's dispositions."""
    positions = []
    try:
        async for frame in FrameReader(journal, ShardKey(ShardKind.FOLLOWER, shard)).frames():
            for event in frame.events:
                if isinstance(event, SignalDecided):
                    mine = (event.subscriptions == subscription) & (
                        event.dispositions != Disposition.INACTIVE
                    )
                    positions += [event.signal << 1 | event.leg] * int(mine.sum())
    except (ChainBrokenError, FrameError):
        return positions
    return positions
