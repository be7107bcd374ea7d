"""A follower shard's journal written by hand: orders for a gateway, without the shard that would
decide them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from engine.columns.section_types import Column
from engine.journal.cursors import NO_HASH
from engine.journal.events.orders import CancelsRequested, OrdersPlaced
from engine.journal.events.subscriptions import (
    AccountsOpened,
    InstrumentsLearned,
    SubscriptionsOpened,
)
from engine.journal.frame import FrameHeader, ShardKey, ShardKind, encode_frame, frame_hash
from engine.values.order_ids import CauseKind, OrderKey
from engine.values.order_terms import OrderTerms
from gateways.memory.server import MemoryServer

PRICE = 100_000_000
LOT = 100_000_000


class OrderFlow:
    """Appends frames of one follower shard. Subscription n is account n's, one each, all at one
    broker.
    """

    def __init__(
        self, server: MemoryServer, start_ns: int, *, shard: int = 0, broker: str = "paper"
    ) -> None:
        self.key = ShardKey(ShardKind.FOLLOWER, shard)
        self.time_ns = start_ns
        self._stream = server.stream("JOURNAL_FOLLOWER")
        self._broker = broker
        self._number = 0
        self._hash = NO_HASH
        self._accounts = 0
        self._symbols: list[str] = []
        self._cause = 0

    def append(self, *events: Any) -> int:
        """Append one frame. Returns: its sequence."""
        self._number += 1
        header = FrameHeader(self.key, 1, self._number, self.time_ns, self._hash, ())
        data = encode_frame(header, events)
        self._hash = frame_hash(data)
        return self._stream.store(self.key.subject, data, f"{self.key}/{self._number}")

    def open(self, accounts: int, symbols: Sequence[str]) -> int:
        """Open accounts, a subscription each, and list instruments, in one frame."""
        first, count = self._accounts, len(self._symbols)
        self._accounts += accounts
        self._symbols += symbols
        zeros = np.zeros(accounts, np.int64)
        ids = [f"{self.key.shard}-account-{number}" for number in range(first, self._accounts)]
        numbers = np.arange(first, self._accounts, dtype=np.int64)
        return self.append(
            AccountsOpened(first, ids, [self._broker], zeros, zeros - 1, zeros),
            SubscriptionsOpened(first, numbers, *[zeros] * 11),
            InstrumentsLearned(
                0,
                np.arange(count, count + len(symbols), dtype=np.int64),
                list(symbols),
                np.full(len(symbols), 1, np.int64),
                np.full(len(symbols), 1, np.int64),
            ),
        )

    def orders(
        self,
        symbol: str,
        subscriptions: Sequence[int] | Column,
        *,
        creator: int = 0,
        is_exit: bool = False,
        expire_time: int = 0,
        attempt: int = 0,
        cause: int | None = None,
    ) -> OrdersPlaced:
        """Make orders of one cause, the next one unless given."""
        if cause is None:
            self._cause += 1
            cause = self._cause
        rows = np.array(subscriptions, np.int64)
        return OrdersPlaced(
            0,
            creator,
            self._symbols.index(symbol),
            OrderKey(CauseKind.SIGNAL, 0, cause, 0, attempt),
            OrderTerms(
                side=-1 if is_exit else 1,
                price=PRICE,
                limit_price=0,
                expire_time=expire_time,
                is_exit=int(is_exit),
                fee_rate=0,
                transact_time=self.time_ns,
            ),
            rows,
            np.full(len(rows), LOT, np.int64),
            rows,
        )

    def cancels(self, *orders: OrdersPlaced, rows: slice = slice(None)) -> CancelsRequested:
        """Make cancels of some rows of orders."""
        parts = [each.key for each in orders for _ in range(len(each.subscriptions[rows]))]
        columns = [np.array(column, np.int64) for column in zip(*parts, strict=True)]
        kinds, shards, causes, legs, attempts = columns
        subscriptions = np.concatenate([each.subscriptions[rows] for each in orders])
        return CancelsRequested(kinds, shards, causes, subscriptions, legs, attempts)
