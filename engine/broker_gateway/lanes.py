"""Lanes: the order in which the sections of one shard and instrument leave."""

import numpy as np
from numpy.typing import NDArray

from engine.broker_gateway.outbound import OutboundSection
from engine.columns.reductions import most
from engine.values.order_ids import OrderKey


class Lane:
    """The sections in hand of one shard and instrument, and the last one of each account.

    `last` is made only once a section might have to wait: the parts of one signal are of different
    accounts.
    """

    __slots__ = ("last", "sections", "signal")

    def __init__(self, signal: OrderKey | None) -> None:
        self.sections: dict[int, OutboundSection] = {}
        self.signal = signal
        self.last: NDArray[np.int64] | None = None

    def add(self, outbound: OutboundSection) -> list[OutboundSection]:
        """Take a section in. Returns: the sections that it must wait for."""
        found: list[OutboundSection] = []
        if self.sections and (self.last is not None or outbound.key != self.signal):
            found = self._before(outbound)
        self.sections[outbound.ordinal] = outbound
        if self.last is not None:
            self._note(outbound)
        return found

    def fill(self) -> NDArray[np.int64]:
        """Return `last`, made of the sections in hand on first use."""
        if self.last is None:
            self.last = np.zeros(1 << 10, np.int64)
            for outbound in self.sections.values():
                self._note(outbound)
        return self.last

    def _before(self, outbound: OutboundSection) -> list[OutboundSection]:
        last = self.fill()
        places = outbound.orders.accounts & (BUCKETS_MAX - 1)
        if len(places) and most(places) >= len(last):
            places = places[places < len(last)]
        ordinals = last[places]
        if not len(ordinals) or most(ordinals) < next(iter(self.sections)):
            # The last sections of these accounts are out of hand: sections stand in the order in
            # which they came.
            return []
        return [
            self.sections[each] for each in np.unique(ordinals).tolist() if each in self.sections
        ]

    def _note(self, outbound: OutboundSection) -> None:
        accounts = outbound.orders.accounts & (BUCKETS_MAX - 1)
        if not len(accounts):
            return
        assert self.last is not None
        top = most(accounts)
        if top >= len(self.last):
            self.last = np.concatenate(
                (self.last, np.zeros((1 << top.bit_length()) - len(self.last), np.int64))
            )
        self.last[accounts] = outbound.ordinal


BUCKETS_MAX = 1 << 18
"""So many accounts have a place each. Beyond it two may share one, and wait without need."""
