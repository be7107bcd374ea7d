"""What a broker's gateway sends: one block's worth for each decision of a follower shard.

`engine.broker_gateway.shard` makes these from follower frames, `engine.broker_gateway.queue` says
when each may go.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.columns.sections import Ascending, Column
from engine.messages.blocks import AccountsRegistered, CancelsSubmitted, OrdersSubmitted
from engine.values.order_ids import OrderKey

_SECTION_BYTES = 192
_ORDER_BYTES = 12
_CANCEL_BYTES = 24
_ACCOUNT_BYTES = 32
"""About what they take in a message: most columns are narrow, most ids short."""


@dataclass(slots=True, eq=False)
class OutboundSection:
    """One block's worth for the broker, from one follower frame.

    `section` is what to send. For orders, `key` and `creator` say which decision they follow from.
    What follows after `is_exit` is the dispatch queue's.
    """

    sequence: int
    follower_shard: int
    section: AccountsRegistered | OrdersSubmitted | CancelsSubmitted
    key: OrderKey | None = None
    creator: tuple[int, int] = (0, 0)
    is_exit: bool = False
    ordinal: int = 0
    waits_count: int = 0
    """How many earlier blocks must be out of the gateway's hands before it may go."""
    followers: "list[OutboundSection] | None" = None
    """Later blocks that wait for it."""
    parts_count: int = 1
    """How many parts of it are in the gateway's hands: itself, and those that were split off it."""
    is_held: bool = False
    """Whether it left before, and is not to go again."""
    whole: "OutboundSection | None" = None
    """What it was split off."""
    sending: int = -1
    """Its number among the sendings that the gateway's journal names
    (`engine.broker_gateway.submissions`).
    """

    @property
    def count(self) -> int:
        """How many orders, cancels or accounts it holds."""
        section = self.section
        return (
            len(section.ids)
            if isinstance(section, AccountsRegistered)
            else len(section.subscriptions)
        )

    @property
    def bytes_count(self) -> int:
        """About how many bytes it takes in a message."""
        if isinstance(self.section, OrdersSubmitted):
            return _SECTION_BYTES + _ORDER_BYTES * len(self.section.subscriptions)
        each = _CANCEL_BYTES if isinstance(self.section, CancelsSubmitted) else _ACCOUNT_BYTES
        return _SECTION_BYTES + each * self.count

    @property
    def orders(self) -> OrdersSubmitted:
        """The section of a block of orders."""
        assert isinstance(self.section, OrdersSubmitted)
        return self.section

    def of_rows(self, rows: NDArray[np.bool_] | slice) -> "OutboundSection":
        """Make the block of some of its orders."""
        names = ("subscriptions", "accounts", "quantities")
        section = msgspec.structs.replace(
            self.orders, **{name: getattr(self.orders, name)[rows] for name in names}
        )
        return OutboundSection(
            self.sequence, self.follower_shard, section, self.key, self.creator, self.is_exit
        )


def orders_count(blocks: list[OutboundSection]) -> int:
    """Count the orders in some blocks."""
    return sum(block.count for block in blocks if isinstance(block.section, OrdersSubmitted))


def cancelled_orders(cancels: CancelsSubmitted) -> Iterator[tuple[OrderKey, Ascending]]:
    """Name what cancels are for: each decision once, with the subscriptions whose orders are
    meant.
    """
    columns: tuple[Column, ...] = (
        cancels.cause_kinds,
        cancels.creator_shards,
        cancels.cause_numbers,
        cancels.legs,
        cancels.attempts,
    )
    keys, of_row = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)
    order = np.argsort(of_row.reshape(-1), kind="stable")
    ends = np.cumsum(np.bincount(of_row.reshape(-1), minlength=len(keys)))
    for number, key in enumerate(keys.tolist()):
        start = int(ends[number - 1]) if number else 0
        yield OrderKey(*key), np.sort(cancels.subscriptions[order[start : ends[number]]])
