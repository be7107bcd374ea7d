"""A revoked order is never sent, by no later owner and from no snapshot (P3, P9)."""

import msgspec
import numpy as np

from actors.broker_gateway.actor import BrokerGatewayShardActor
from actors.errors import TransientError
from engine.broker_gateway.outbound import OutboundSection
from engine.broker_gateway.shard import GatewayShard
from engine.columns.snapshot import decode_snapshot
from engine.columns.state import encode_state
from engine.columns.state_copy import encode_copy
from engine.journal.cursors import Cursor, Source
from engine.journal.events.gateway import OrdersRevoked
from engine.journal.frame import FrameHeader, ShardKey, ShardKind, decode_header
from engine.messages.blocks import OrdersSubmitted
from engine.values.order_ids import OrderKey
from engine.values.order_status import ExecType
from tests.actors.memory_shards import SETTINGS, MemoryShards

KEY = OrderKey(0, 0, 7, 0, 0)


def test_a_snapshot_taken_before_frames_are_read_again_knows_the_revoked_orders() -> None:
    """A new owner may take a snapshot before it reads on, while the orders' frame is still ahead of
    it.
    """
    subscriptions = np.array([1, 3], np.int64)
    owner = GatewayShard()
    event = OrdersRevoked(0, KEY, int(ExecType.CANCELED), 0, 5, 146, np.array([3], np.int64))
    cursor = Cursor(Source.ORDERS, 0, 145, 145)
    owner.apply(FrameHeader(ShardKey(ShardKind.GATEWAY, 0), 1, 2, 5, b"", (cursor,)), [event])
    successor = GatewayShard()
    successor.restore(decode_snapshot(encode_copy(owner.copy()), successor.schema))
    section = OrdersSubmitted(
        0, 9, KEY, "AAA", 1, 100, 100, 0, subscriptions, subscriptions, np.array([5, 5], np.int64)
    )
    left = successor.without_revoked(OutboundSection(146, 0, section, KEY))
    assert left.orders.subscriptions.tolist() == [1]
    assert encode_state(successor.columns()) == encode_state(owner.columns())


async def test_orders_that_expire_at_once_are_revoked_over_several_frames() -> None:
    """The broker was away, and a whole queue expires in one turn."""
    shards = MemoryShards(msgspec.structs.replace(SETTINGS, frame_bytes_max=4_000))
    gateway = BrokerGatewayShardActor(
        0, "gateway-1", shards.ports, shards.settings, name="paper", broker=Away()
    )
    await gateway.start()
    for number in range(200):
        one, key = np.array([number], np.int64), KEY._replace(cause_number=number)
        section = OrdersSubmitted(0, 9, key, "AAA", 1, 100, 100, 1, one, one, one + 1)
        gateway.outcomes.revoke(
            OutboundSection(number + 1, 0, section, key),
            ExecType.EXPIRED,
        )
    gateway.state.read_sequence = 200
    await gateway.outcomes.journal()
    await gateway.core.committer.settle()
    await gateway.close()
    frames = [
        (cursors_of(message.data), len(message.data))
        for message in shards.server.stream("JOURNAL_GATEWAY").messages
    ]
    assert len(frames) > 5
    assert max(size for _, size in frames) < 8_000
    assert [sequence for sequence, _ in frames] == [0] * (len(frames) - 1) + [200]
    assert len(shards.events(ShardKey(ShardKind.GATEWAY, 0), OrdersRevoked)) == 200
    assert len(shards.server.stream("EXECUTIONS").messages) == 200


class Away:
    """A broker that does not answer."""

    async def submit(self, block: bytes) -> bytes:
        raise TransientError("broker paper: nobody listens")


def cursors_of(data: bytes) -> int:
    """Read how far a gateway's frame says that everything is answered."""
    return max((cursor.sequence for cursor in decode_header(data)[0].cursors), default=0)
