"""An order that the gateway has withdrawn is never sent, whoever takes the gateway over, from whatever snapshot (P3, P9)."""

import numpy as np

from engine.blocks import OrdersSubmitted
from engine.book import OrderKey
from engine.events import OrdersWithdrawn
from engine.frame import Cursor, FrameHead, ShardKey, ShardKind, Source
from engine.gateway import GatewayShard, Outgoing
from engine.order_state import ExecType
from engine.tables import decode_state, encode_state

KEY = OrderKey(0, 0, 7, 0, 0)


def test_a_snapshot_taken_before_the_frames_are_read_again_knows_the_withdrawn_orders() -> None:
    """A new owner that a snapshot is due for takes it before it reads on: the orders' frame is still ahead of it."""
    subscriptions = np.array([1, 3], np.int64)
    owner = GatewayShard()
    event = OrdersWithdrawn(0, *KEY, int(ExecType.CANCELED), 0, 5, 146, np.array([3], np.int64))
    cursor = Cursor(Source.ORDERS, 0, 145, 145)
    owner.apply(FrameHead(ShardKey(ShardKind.GATEWAY, 0), 1, 2, 5, b"", (cursor,)), [event])
    successor = GatewayShard()
    successor.restore(decode_state(encode_state(owner.state())))
    section = OrdersSubmitted(
        0, 9, *KEY, "AAA", 1, 100, 100, 0, subscriptions, subscriptions, np.array([5, 5], np.int64)
    )
    left = successor.without_withdrawn(Outgoing(146, 0, section, KEY))
    assert left.orders.subscriptions.tolist() == [1]
    assert encode_state(successor.state()) == encode_state(owner.state())
