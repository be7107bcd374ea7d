"""Lanes: the order in which the sections of one shard and instrument leave."""

import numpy as np
from numpy.typing import NDArray

from engine.broker_gateway.outbound import OutboundSection
from engine.columns.reductions import most
from engine.values.order_ids import OrderKey


class Lane:
    """The sections in hand of one shard and instrument, and the last one of each account.

    `signal` is the key of the lane's first section, if a signal placed it. `last` holds the ordinal
    of each account's last section. It is made only when a section of another key comes: the parts
    of one signal are of different accounts and never wait for one another.
    """

    __slots__ = ("last", "sections", "signal")

    def __init__(self, signal: OrderKey | None) -> None:
        self.sections: dict[int, OutboundSection] = {}
        self.signal = signal
        self.last: NDArray[np.int64] | None = None

    def add(self, section: OutboundSection) -> list[OutboundSection]:
        """Add a section. Returns: the sections that it must wait for."""
        found: list[OutboundSection] = []
        if self.sections and (self.last is not None or section.key != self.signal):
            found = self._before(section)
        self.sections[section.ordinal] = section
        if self.last is not None:
            self._note(section)
        return found

    def fill(self) -> NDArray[np.int64]:
        """Return `last`, made of the sections in hand on first use."""
        if self.last is None:
            self.last = np.zeros(1 << 10, np.int64)
            for section in self.sections.values():
                self._note(section)
        return self.last

    def _before(self, section: OutboundSection) -> list[OutboundSection]:
        last = self.fill()
        places = section.orders.accounts & (BUCKETS_MAX - 1)
        if len(places) and most(places) >= len(last):
            places = places[places < len(last)]
        ordinals = last[places]
        if not len(ordinals) or most(ordinals) < next(iter(self.sections)):
            # The last sections of these accounts are out of the gateway's hands: the lane's first
            # section is the oldest that is left.
            return []
        return [
            self.sections[each] for each in np.unique(ordinals).tolist() if each in self.sections
        ]

    def _note(self, section: OutboundSection) -> None:
        accounts = section.orders.accounts & (BUCKETS_MAX - 1)
        if not len(accounts):
            return
        assert self.last is not None
        top = most(accounts)
        if top >= len(self.last):
            self.last = np.concatenate(
                (self.last, np.zeros((1 << top.bit_length()) - len(self.last), np.int64))
            )
        self.last[accounts] = section.ordinal


BUCKETS_MAX = 1 << 18
"""The accounts that have a place of their own in `last`. Beyond it two accounts may share a place,
and the orders of one then wait for those of the other without need.
"""
