"""What is asked after at once fits into the smallest message that a cluster may be configured
with.
"""

import asyncio
from typing import Any

import numpy as np

from actors.broker_gateway.unresolved import UnresolvedBlocks
from cluster.config.options import MIB
from engine.broker_gateway.outbound import OutboundSection
from engine.messages.blocks import BlockAnswered, OrdersKnown, OrdersSubmitted, encode_block
from engine.values.order_ids import OrderKey

ROWS = 1 << 17
"""The largest part that may be configured, of subscriptions far apart."""


def block(number: int) -> OutboundSection:
    subscriptions = np.arange(ROWS, dtype=np.int64)
    subscriptions[1:] += 1 << 17
    section = OrdersSubmitted(
        0,
        1,
        0,
        0,
        number,
        0,
        0,
        "AAA",
        1,
        10**8,
        10**8,
        0,
        subscriptions,
        subscriptions,
        subscriptions,
    )
    return OutboundSection(number, 0, section, OrderKey(0, 0, number, 0, 0))


async def test_eight_large_blocks_in_doubt_are_asked_after_in_messages_of_a_size() -> None:
    sizes: list[int] = []

    async def ask(*sections: Any) -> list[Any]:
        sizes.append(len(encode_block(*sections)))
        known = [
            OrdersKnown(0, each.cause_kind, 0, each.cause_number, 0, 0, each.subscriptions[:7])
            for each in sections
        ]
        return [BlockAnswered(0, 0, ""), *known]

    doubts = UnresolvedBlocks("paper", ask, asyncio.Event())
    for number in range(8):
        doubts.add(block(number))
    found = []
    while len(doubts):
        found += doubts.take_found()
        await asyncio.sleep(0)
    assert [(each.block.sequence, int(each.known.sum())) for each in found] == [
        (n, 7) for n in range(8)
    ]
    assert max(sizes) < 4 * MIB
