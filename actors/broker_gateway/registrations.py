"""The accounts of a broker, read back from the follower journals for a ledger that is new.

Cost: reads the journals of all follower shards. An operator has asked for it.
"""

from collections.abc import AsyncIterator, Iterable

from actors.journal.reading import read_after
from actors.ports import Journal
from engine.broker_gateway.follower_view import FollowerView
from engine.broker_gateway.outbound import OutboundSection
from engine.journal.chain import Chain
from engine.journal.events import EVENT_TYPES
from engine.journal.events.subscriptions import AccountsOpened
from engine.journal.frame import ShardKey, ShardKind, decode_events

_OTHERS = frozenset(EVENT_TYPES) - {AccountsOpened.TAG}


async def registrations(
    journal: Journal, shards: Iterable[int], broker: str
) -> AsyncIterator[OutboundSection]:
    """Yield the sections that register a broker's accounts of some follower shards. Raises:
    ChainBrokenError.
    """
    for shard in shards:
        key, view, after = ShardKey(ShardKind.FOLLOWER, shard), FollowerView(shard), 0
        chain = Chain(key)
        while frames := await read_after(journal, key, after):
            after = frames[-1].sequence
            for frame in frames:
                header = chain.accept(frame.data)
                if header is None:
                    continue
                for event in decode_events(header, frame.data, skipped=_OTHERS):
                    for section in view.sections_for(broker, frame.sequence, header.number, event):
                        yield section
