"""Outbound sections: what a broker's gateway sends, one section for each decision of a follower
shard.

`engine.broker_gateway.follower_view` makes them from follower frames, and
`engine.broker_gateway.queue` decides when each may go.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.columns.section_types import Column
from engine.messages.blocks import (
    AccountsRegistered,
    CancelsSubmitted,
    FramesSent,
    OrdersSubmitted,
)
from engine.values.order_ids import OrderKey

_SECTION_BYTES = 192
_RUN_BYTES = 24
_ORDER_BYTES = 12
_CANCEL_BYTES = 24
_ACCOUNT_BYTES = 32
"""Estimates of the bytes in a message: most columns are narrow, most ids short."""


@dataclass(slots=True, eq=False)
class OutboundSection:
    """One section for the broker, from one follower frame, and its place in the queue.

    `body` is what to send. For orders, `key` and `creator` name the decision that they follow
    from. The fields after `frame_mark` are the dispatch queue's and the sender's.
    """

    sequence: int
    follower_shard: int
    body: AccountsRegistered | OrdersSubmitted | CancelsSubmitted
    key: OrderKey | None = None
    creator: tuple[int, int] = (0, 0)
    is_exit: bool = False
    runs: tuple[AccountsRegistered, ...] = ()
    """Further runs of account numbers, which are sent with `body`."""
    frame_mark: int = 0
    """The mark of its follower frame (`engine.journal.frame.frame_mark`)."""
    ordinal: int = 0
    waits_count: int = 0
    """The number of earlier sections that must leave the gateway's hands before it may go."""
    followers: "list[OutboundSection] | None" = None
    """Later sections that wait for it."""
    parts_count: int = 1
    """The number of its parts in the gateway's hands: itself, and those split off it."""
    is_held: bool = False
    """True if a former owner sent it, so that it does not go again."""
    whole: "OutboundSection | None" = None
    """The section that it was split off from."""
    submission: int = -1
    """The number of its submission (`engine.broker_gateway.submissions`), -1 while it has none."""
    is_asked: bool = False
    """True if the broker answered its orders before, and is only asked about them again."""
    miscounts: int = 0
    """The number of answers that did not count its orders."""

    @property
    def count(self) -> int:
        """The number of orders, cancels or accounts in it."""
        body = self.body
        if isinstance(body, AccountsRegistered):
            return len(body.ids) + sum(len(run.ids) for run in self.runs)
        return len(body.subscriptions)

    @property
    def bodies(self) -> tuple[AccountsRegistered | OrdersSubmitted | CancelsSubmitted, ...]:
        """Everything to send."""
        return (self.body, *self.runs)

    @property
    def bytes_count(self) -> int:
        """An estimate of its bytes in a message."""
        if isinstance(self.body, OrdersSubmitted):
            return _SECTION_BYTES + _ORDER_BYTES * len(self.body.subscriptions)
        each = _CANCEL_BYTES if isinstance(self.body, CancelsSubmitted) else _ACCOUNT_BYTES
        return _SECTION_BYTES + _RUN_BYTES * len(self.runs) + each * self.count

    @property
    def orders(self) -> OrdersSubmitted:
        """Its orders. The caller knows that it is a section of orders."""
        assert isinstance(self.body, OrdersSubmitted)
        return self.body

    def of_rows(self, rows: NDArray[np.bool_] | slice) -> "OutboundSection":
        """Return a section of some of its orders."""
        names = ("subscriptions", "accounts", "quantities")
        body = msgspec.structs.replace(
            self.orders, **{name: getattr(self.orders, name)[rows] for name in names}
        )
        return OutboundSection(
            self.sequence,
            self.follower_shard,
            body,
            self.key,
            self.creator,
            self.is_exit,
            frame_mark=self.frame_mark,
            is_asked=self.is_asked,
        )


def asked_about(
    sequence: int, follower_shard: int, key: OrderKey, subscriptions: Column
) -> OutboundSection:
    """Return a section of orders that the broker answered before. It names them, and no more."""
    zeros = np.zeros(len(subscriptions), np.int64)
    body = OrdersSubmitted(follower_shard, 0, key, "", 0, 0, 0, 0, subscriptions, zeros, zeros)
    return OutboundSection(sequence, follower_shard, body, key, is_asked=True)


def frames_sent(sections: Sequence[OutboundSection]) -> FramesSent | None:
    """Name the highest follower frame of each shard whose orders are among sections; None when
    there are no orders.
    """
    highest: dict[int, OutboundSection] = {}
    for section in sections:
        if isinstance(section.body, OrdersSubmitted):
            known = highest.get(section.follower_shard)
            if known is None or section.orders.frame > known.orders.frame:
                highest[section.follower_shard] = section
    if not highest:
        return None
    rows = [
        (shard, each.orders.frame, each.frame_mark, each.sequence)
        for shard, each in sorted(highest.items())
    ]
    return FramesSent(*np.array(rows, np.int64).T.copy())


def orders_count(sections: list[OutboundSection]) -> int:
    """Count the orders in sections."""
    return sum(section.count for section in sections if isinstance(section.body, OrdersSubmitted))
