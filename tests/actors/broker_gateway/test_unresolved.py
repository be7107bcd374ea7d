"""The orders looked up at once fit into the smallest message that a cluster may be configured
with.
"""

import asyncio
from typing import Any

import numpy as np

from actors.broker_gateway.unresolved import UnresolvedSections
from cluster.config.options import MIB
from engine.broker_gateway.outbound import OutboundSection
from engine.messages.blocks import BlockAnswered, OrdersKnown, OrdersSubmitted, encode_block
from engine.values.order_ids import OrderKey

ROWS = 1 << 17
"""The largest part that may be configured, of subscriptions far apart."""


def section_of(number: int) -> OutboundSection:
    subscriptions = np.arange(ROWS, dtype=np.int64)
    subscriptions[1:] += 1 << 17
    key = OrderKey(0, 0, number, 0, 0)
    section = OrdersSubmitted(
        0,
        1,
        key,
        "AAA",
        1,
        10**8,
        10**8,
        0,
        subscriptions,
        subscriptions,
        subscriptions,
    )
    return OutboundSection(number, 0, section, key)


class Introduced:
    """An introduction that was accepted."""

    def again(self, refusal: str) -> None:
        raise AssertionError(refusal)

    async def wait(self) -> None:
        return


async def test_large_unresolved_sections_are_looked_up_in_blocks_that_fit_a_message() -> None:
    sizes: list[int] = []

    async def ask(*sections: Any) -> list[Any]:
        sizes.append(len(encode_block(*sections)))
        known = [OrdersKnown(0, each.key, each.subscriptions[:7]) for each in sections]
        return [BlockAnswered(0, 0, ""), *known]

    unresolved = UnresolvedSections("paper", ask, asyncio.Event(), Introduced())
    for number in range(8):
        unresolved.add(section_of(number))
    found = []
    while len(unresolved):
        found += unresolved.take_found()
        await asyncio.sleep(0)
    assert [(each.section.sequence, int(each.known.sum())) for each in found] == [
        (n, 7) for n in range(8)
    ]
    assert max(sizes) < 4 * MIB
