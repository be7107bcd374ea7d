"""Lanes: the order in which sections of one shard and instrument leave."""

import numpy as np
from numpy.typing import NDArray

from engine.broker_gateway.outbound import OutboundSection
from engine.columns.reductions import most
from engine.values.order_ids import OrderKey


class Lane:
    """The blocks in hand of one shard and instrument, and which of them each account was last in.

    `last` is made only once a block might have to wait: the parts of one signal are of different
    accounts.
    """

    __slots__ = ("blocks", "last", "signal")

    def __init__(self, signal: OrderKey | None) -> None:
        self.blocks: dict[int, OutboundSection] = {}
        self.signal = signal
        self.last: NDArray[np.int64] | None = None

    def add(self, block: OutboundSection) -> list[OutboundSection]:
        """Take a block in. Returns: the blocks that it must wait for."""
        found: list[OutboundSection] = []
        if self.blocks and (self.last is not None or block.key != self.signal):
            found = self._before(block)
        self.blocks[block.ordinal] = block
        if self.last is not None:
            self._note(block)
        return found

    def fill(self) -> NDArray[np.int64]:
        """Make `last` of the blocks in hand, unless it is made."""
        if self.last is None:
            self.last = np.zeros(1 << 10, np.int64)
            for block in self.blocks.values():
                self._note(block)
        return self.last

    def _before(self, block: OutboundSection) -> list[OutboundSection]:
        last = self.fill()
        places = block.orders.accounts & (BUCKETS_MAX - 1)
        if len(places) and most(places) >= len(last):
            places = places[places < len(last)]
        ordinals = last[places]
        if not len(ordinals) or most(ordinals) < next(iter(self.blocks)):
            # What these accounts were last in is out of hand: blocks stand in the order in which
            # they came.
            return []
        return [self.blocks[each] for each in np.unique(ordinals).tolist() if each in self.blocks]

    def _note(self, block: OutboundSection) -> None:
        accounts = block.orders.accounts & (BUCKETS_MAX - 1)
        if not len(accounts):
            return
        assert self.last is not None
        top = most(accounts)
        if top >= len(self.last):
            self.last = np.concatenate(
                (self.last, np.zeros((1 << top.bit_length()) - len(self.last), np.int64))
            )
        self.last[accounts] = block.ordinal


BUCKETS_MAX = 1 << 18
"""Accounts told apart exactly; beyond it two may share a place, and one waits where it need not."""
