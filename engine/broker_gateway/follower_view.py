"""A gateway's view of one follower shard: its accounts, subscriptions and instruments, learned from
the journal.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.broker_gateway.outbound import OutboundSection
from engine.columns.reductions import rows_of
from engine.columns.table import Table
from engine.journal.chain import Chain
from engine.journal.events.orders import CancelsRequested, OrdersPlaced, SignalDecided
from engine.journal.events.subscriptions import (
    AccountsOpened,
    InstrumentsLearned,
    SubscriptionsOpened,
)
from engine.journal.frame import ShardKey, ShardKind
from engine.messages.blocks import AccountsRegistered, CancelsSubmitted, OrdersSubmitted

ACCOUNT_COLUMNS = {"broker": np.uint8}
SUBSCRIPTION_COLUMNS = {"account": np.uint32}
RUNS_MAX = 256
"""Runs of account numbers in one outbound section: as many sections as one block may have."""


class FollowerView:
    """One follower shard as the gateway knows it."""

    def __init__(self, shard: int) -> None:
        self.shard = shard
        self.chain = Chain(ShardKey(ShardKind.FOLLOWER, shard))
        self.symbols: dict[tuple[int, int], str] = {}
        self.brokers: list[str] = []
        self.accounts = Table(ACCOUNT_COLUMNS)
        self.subscriptions = Table(SUBSCRIPTION_COLUMNS)

    def learn(self, event: Any) -> None:
        """Learn the accounts, subscriptions and instruments that an event introduces. A frame may
        be read again; an event that is known already changes nothing.
        """
        match event:
            case AccountsOpened():
                for broker in event.brokers:
                    if broker not in self.brokers:
                        self.brokers.append(broker)
                numbers = np.array(
                    [self.brokers.index(broker) for broker in event.brokers], np.int64
                )
                new = event.broker_of[self.accounts.count - event.first :]
                self.accounts.append({"broker": numbers[new]})
            case SubscriptionsOpened():
                new = event.accounts[self.subscriptions.count - event.first :]
                self.subscriptions.append({"account": new})
            case InstrumentsLearned():
                self.symbols.update(
                    {
                        (event.creator_shard, number): symbol
                        for number, symbol in zip(
                            event.numbers.tolist(), event.symbols, strict=True
                        )
                    }
                )
            case _:
                pass

    def sections_for(
        self, broker: str, sequence: int, frame: int, event: Any
    ) -> Iterator[OutboundSection]:
        """Yield the sections that follow from an event for one broker."""
        match event:
            case SignalDecided():
                subscriptions, units = _placed(event.subscriptions, event.units)
                yield from self._orders(
                    broker, sequence, frame, event, subscriptions, units * event.unit
                )
            case OrdersPlaced():
                placed = _placed(event.subscriptions, event.quantities)
                yield from self._orders(broker, sequence, frame, event, *placed)
            case CancelsRequested():
                mine = self.are_of(broker, event.subscriptions)
                if mine.any():
                    cancels = CancelsSubmitted(
                        self.shard,
                        event.cause_kinds[mine],
                        event.creator_shards[mine],
                        event.cause_numbers[mine],
                        event.subscriptions[mine],
                        event.legs[mine],
                        event.attempts[mine],
                    )
                    yield OutboundSection(sequence, self.shard, cancels)
            case AccountsOpened():
                yield from self._registrations(broker, sequence, event)
            case _:
                pass

    def _registrations(
        self, broker: str, sequence: int, event: AccountsOpened
    ) -> Iterator[OutboundSection]:
        """Yield sections of the broker's own accounts, in runs of numbers that follow each other.
        Accounts of other brokers are nobody's business but theirs.
        """
        if broker not in event.brokers:
            return
        rows = np.flatnonzero(event.broker_of == event.brokers.index(broker))
        if not len(rows):
            return
        breaks = np.flatnonzero(np.diff(rows) != 1) + 1
        runs = [
            AccountsRegistered(
                self.shard, event.first + int(run[0]), event.ids[int(run[0]) : int(run[-1]) + 1]
            )
            for run in np.split(rows, breaks)
        ]
        for start in range(0, len(runs), RUNS_MAX):
            body, *more = runs[start : start + RUNS_MAX]
            yield OutboundSection(sequence, self.shard, body, runs=tuple(more))

    def are_of(self, broker: str, subscriptions: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which subscriptions are of accounts at a broker."""
        number = self.brokers.index(broker) if broker in self.brokers else -1
        if len(self.brokers) == 1:
            return np.full(len(subscriptions), number == 0)
        accounts = self.subscriptions["account"][subscriptions]
        mine: NDArray[np.bool_] = self.accounts["broker"][accounts] == number
        return mine

    def _orders(
        self,
        broker: str,
        sequence: int,
        frame: int,
        event: SignalDecided | OrdersPlaced,
        subscriptions: NDArray[np.int64],
        quantities: NDArray[np.int64],
    ) -> Iterator[OutboundSection]:
        if self.brokers != [broker]:
            mine = self.are_of(broker, subscriptions)
            subscriptions, quantities = subscriptions[mine], quantities[mine]
        if not len(subscriptions):
            return
        key, terms = event.key, event.terms
        orders = OrdersSubmitted(
            follower_shard=self.shard,
            frame=frame,
            key=key,
            symbol=self.symbols[event.creator_shard, event.instrument],
            side=terms.side,
            price=terms.price,
            limit_price=terms.limit_price,
            expire_time=terms.expire_time,
            subscriptions=subscriptions,
            accounts=self.subscriptions["account"][subscriptions].astype(np.int64),
            quantities=quantities,
        )
        creator = (event.creator_shard, event.creator)
        yield OutboundSection(sequence, self.shard, orders, key, creator, bool(terms.is_exit))


def _placed(
    subscriptions: NDArray[np.int64], quantities: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Leave out the rows that place nothing."""
    chosen = rows_of(quantities)
    if len(chosen) == len(quantities):
        return subscriptions, quantities
    return subscriptions[chosen], quantities[chosen]
