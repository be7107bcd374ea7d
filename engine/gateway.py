"""A broker gateway's state: what it has learned from the follower journals, and which orders are still its
own.

Follower frames name subscriptions by number; the gateway learns from the same frames which account each
belongs to and which broker that trades at, and makes blocks for its broker (`engine.blocks`). Frames up to
the ORDERS cursor are answered; that cursor is all that its own journal must remember.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.blocks import AccountsRegistered, CancelsSubmitted, OrdersSubmitted
from engine.book import OrderKey
from engine.chain import Chain
from engine.creator import cursors_column, cursors_from
from engine.cut import Cut, whole_cut
from engine.events import (
    EVENT_TYPES,
    AccountsOpened,
    BlocksAnswered,
    CancelsRequested,
    InstrumentsLearned,
    OrdersPlaced,
    OrdersWithdrawn,
    OwnerFenced,
    SignalDecided,
    SubscriptionsOpened,
)
from engine.frame import Cursor, FrameHead, ShardKey, ShardKind, Source
from engine.identity import CauseKind
from engine.sections import encode_sections, walk_sections
from engine.tables import State, Table, grown


@dataclass(slots=True, eq=False)
class Outgoing:
    """One block's worth for the broker, from one follower frame.

    `section` is what to send. For orders, `key` and `creator` say which decision they follow from.
    """

    sequence: int
    follower_shard: int
    section: AccountsRegistered | OrdersSubmitted | CancelsSubmitted
    key: OrderKey | None = None
    creator: tuple[int, int] = (0, 0)
    is_exit: bool = False
    blocker: "Outgoing | None" = None
    """An earlier block that this must wait for; there may be others."""
    is_over: bool = False
    """Whether it is out of the gateway's hands: nothing need wait for it any more."""
    is_free: bool = False
    """Whether it has nothing to wait for: what comes later never changes that."""
    _keys: frozenset[OrderKey] | None = None

    @property
    def count(self) -> int:
        """How many orders, cancels or accounts it holds."""
        if isinstance(self.section, AccountsRegistered):
            return len(self.section.ids)
        return len(self.section.subscriptions)

    @property
    def orders(self) -> OrdersSubmitted:
        """The section of a block of orders."""
        assert isinstance(self.section, OrdersSubmitted)
        return self.section

    def of_rows(self, rows: NDArray[np.bool_]) -> "Outgoing":
        """Make the block of some of its orders."""
        names = ("subscriptions", "accounts", "quantities")
        section = replace(self.orders, **{name: getattr(self.orders, name)[rows] for name in names})
        return replace(self, section=section)

    @property
    def keys(self) -> frozenset[OrderKey]:
        """Name the decisions whose orders it holds or cancels. Cost: found once, asked for with every block that is weighed against it."""
        if self._keys is None:
            self._keys = self._find_keys()
        return self._keys

    def _find_keys(self) -> frozenset[OrderKey]:
        if self.key is not None:
            return frozenset((self.key,))
        if not isinstance(self.section, CancelsSubmitted):
            return frozenset()
        cancels = self.section
        columns = (
            cancels.cause_kinds,
            cancels.creator_shards,
            cancels.cause_numbers,
            cancels.legs,
            cancels.attempts,
        )
        return frozenset(OrderKey(*row) for row in np.unique(np.stack(columns, axis=1), axis=0).tolist())

    def cancelled_by(self, cancels: CancelsSubmitted) -> NDArray[np.bool_]:
        """Say which of its orders some cancels name."""
        assert self.key is not None
        columns = (
            cancels.cause_kinds,
            cancels.creator_shards,
            cancels.cause_numbers,
            cancels.legs,
            cancels.attempts,
        )
        same = np.ones(len(cancels.subscriptions), np.bool_)
        for column, value in zip(columns, self.key, strict=True):
            same &= column == value
        return np.isin(self.orders.subscriptions, cancels.subscriptions[same])

    def waits(self, earlier: Iterable["Outgoing"]) -> bool:
        """Say whether it must wait for any of the earlier blocks. Cost: one block is asked about once while it is not over."""
        if self.is_free:
            return False
        if self.blocker is None or self.blocker.is_over:
            self.blocker = next((other for other in earlier if self.conflicts_with(other)), None)
            self.is_free = self.blocker is None
        return not self.is_free

    def conflicts_with(self, earlier: "Outgoing") -> bool:
        """Say whether this must wait until an earlier block is answered.

        Orders wait for earlier ones of the same account and instrument, cancels for the orders that they
        name, and everything of a shard for its accounts to be registered.
        """
        if self.follower_shard != earlier.follower_shard:
            return False
        if isinstance(self.section, AccountsRegistered) or isinstance(earlier.section, AccountsRegistered):
            return True
        if isinstance(earlier.section, CancelsSubmitted):
            return False
        if isinstance(self.section, CancelsSubmitted):
            return earlier.key in self.keys
        if self.section.symbol != earlier.orders.symbol or self.key == earlier.key:
            return False
        if self.creator == earlier.creator:
            return True
        return len(np.intersect1d(self.section.accounts, earlier.orders.accounts)) > 0


class FollowerView:
    """One follower shard as the gateway knows it."""

    def __init__(self, shard: int) -> None:
        self.shard = shard
        self.chain = Chain(ShardKey(ShardKind.FOLLOWER, shard))
        self.symbols: dict[tuple[int, int], str] = {}
        self.brokers: list[str] = []
        self.accounts = Table({"broker": np.uint8})
        self.subscriptions = Table({"account": np.uint32})
        self._in_hand: NDArray[Any] = np.zeros(0, np.int32)
        self._introductions = 0

    def take_in_hand(self, outgoing: Outgoing) -> None:
        """Count a block as in the gateway's hands; one whose accounts have no order there is free to go.

        Cost: a look at the block's accounts, however many blocks are waiting (`latency`, `sustained`).
        """
        section = outgoing.section
        if isinstance(section, AccountsRegistered):
            self._introductions += 1
        elif isinstance(section, OrdersSubmitted):
            if len(self._in_hand) < self.accounts.count:
                self._in_hand = grown(self._in_hand, self.accounts.capacity)
            outgoing.is_free = not self._introductions and not self._in_hand[section.accounts].any()
            _add(self._in_hand, section.accounts, 1)

    def let_go(self, outgoing: Outgoing) -> None:
        """Count a block, or the part of one, as out of the gateway's hands."""
        section = outgoing.section
        if isinstance(section, AccountsRegistered):
            self._introductions -= 1
        elif isinstance(section, OrdersSubmitted):
            _add(self._in_hand, section.accounts, -1)

    def learn(self, event: Any) -> None:
        """Take over what an event introduces."""
        match event:
            case AccountsOpened():
                for broker in event.brokers:
                    if broker not in self.brokers:
                        self.brokers.append(broker)
                numbers = np.array([self.brokers.index(broker) for broker in event.brokers], np.int64)
                self.accounts.append({"broker": numbers[event.broker_of]})
            case SubscriptionsOpened():
                self.subscriptions.append({"account": event.accounts})
            case InstrumentsLearned():
                self.symbols.update(
                    {
                        (event.creator_shard, number): symbol
                        for number, symbol in zip(event.numbers.tolist(), event.symbols, strict=True)
                    }
                )
            case _:
                pass

    def outgoing(self, broker: str, sequence: int, frame: int, event: Any) -> Iterator[Outgoing]:
        """Make what an event means for one broker."""
        match event:
            case SignalDecided():
                chosen = np.flatnonzero(event.units)
                key = OrderKey(CauseKind.SIGNAL, event.creator_shard, event.signal, event.leg, 0)
                yield from self._orders(
                    broker,
                    sequence,
                    frame,
                    event,
                    key,
                    event.subscriptions[chosen],
                    event.units[chosen] * event.unit,
                )
            case OrdersPlaced():
                chosen = np.flatnonzero(event.quantities)
                key = OrderKey(
                    event.cause_kind, event.cause_creator_shard, event.cause_number, event.leg, event.attempt
                )
                yield from self._orders(
                    broker, sequence, frame, event, key, event.subscriptions[chosen], event.quantities[chosen]
                )
            case CancelsRequested():
                mine = self._is_of(broker, event.subscriptions)
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
                    yield Outgoing(sequence, self.shard, cancels)
            case AccountsOpened():
                # All accounts of the shard are named to every broker: numbers stay contiguous, and orders of others never come.
                yield Outgoing(sequence, self.shard, AccountsRegistered(self.shard, event.first, event.ids))
            case _:
                pass

    def _is_of(self, broker: str, subscriptions: NDArray[np.int64]) -> NDArray[np.bool_]:
        number = self.brokers.index(broker) if broker in self.brokers else -1
        if len(self.brokers) == 1:
            return np.full(len(subscriptions), number == 0)
        accounts = self.subscriptions["account"][subscriptions]
        mine: NDArray[np.bool_] = self.accounts["broker"][accounts] == number
        return mine

    def _orders(
        self, broker: str, sequence: int, frame: int, event: SignalDecided | OrdersPlaced, key: OrderKey,
        subscriptions: NDArray[np.int64], quantities: NDArray[np.int64],
    ) -> Iterator[Outgoing]:  # fmt: skip
        mine = self._is_of(broker, subscriptions)
        if not mine.all():
            subscriptions, quantities = subscriptions[mine], quantities[mine]
        if not len(subscriptions):
            return
        section = OrdersSubmitted(
            follower_shard=self.shard,
            frame=frame,
            cause_kind=key.cause_kind,
            creator_shard=key.creator_shard,
            cause_number=key.cause_number,
            leg=key.leg,
            attempt=key.attempt,
            symbol=self.symbols[event.creator_shard, event.instrument],
            side=event.side,
            price=event.price,
            limit_price=event.limit_price,
            expire_time=event.expire_time,
            subscriptions=subscriptions,
            accounts=self.subscriptions["account"][subscriptions].astype(np.int64),
            quantities=quantities,
        )
        creator = (event.creator_shard, event.creator)
        yield Outgoing(sequence, self.shard, section, key, creator, bool(event.is_exit))


def _add(counts: NDArray[Any], accounts: NDArray[np.int64], by: int) -> None:
    if (accounts[1:] > accounts[:-1]).all():
        counts[accounts] += by
    else:
        # An account may have several subscriptions in a block.
        np.add.at(counts, accounts, by)


class GatewayShard:
    """What one broker's gateway remembers."""

    def __init__(self) -> None:
        self.cursors: dict[tuple[Source, int], Cursor] = {}
        self.views: dict[int, FollowerView] = {}
        self.read_sequence = 0
        self.withdrawn: dict[int, int] = {}
        self._gone: dict[int, list[OrdersWithdrawn]] = {}

    @property
    def answered_sequence(self) -> int:
        """Up to where in the follower journals' stream every order is out of the gateway's hands."""
        cursor = self.cursors.get((Source.ORDERS, 0))
        return cursor.sequence if cursor else 0

    def view(self, shard: int) -> FollowerView:
        """Name the view of a follower shard."""
        view = self.views.get(shard)
        if view is None:
            view = self.views[shard] = FollowerView(shard)
        return view

    def apply(self, head: FrameHead, events: list[Any]) -> None:
        """Change the state by a frame of the gateway's own journal."""
        for event in events:
            self.apply_event(event)
        self.cursors.update({(cursor.source, cursor.shard): cursor for cursor in head.cursors})
        self.forget_passed()

    def forget_passed(self) -> None:
        """Forget withdrawn orders of frames that the ORDERS cursor has passed: these are not read for
        sending again.
        """
        for sequence in [sequence for sequence in self._gone if sequence <= self.answered_sequence]:
            del self._gone[sequence]

    def without_withdrawn(self, outgoing: Outgoing) -> Outgoing:
        """Leave out the orders that were withdrawn before: their frame is read again after a restart, they
        must not be sent.
        """
        for event in self._gone.get(outgoing.sequence, ()):
            key = OrderKey(
                event.cause_kind, event.creator_shard, event.cause_number, event.leg, event.attempt
            )
            if outgoing.key == key and outgoing.follower_shard == event.follower_shard:
                outgoing = outgoing.of_rows(~np.isin(outgoing.orders.subscriptions, event.subscriptions))
        return outgoing

    def apply_event(self, event: Any) -> None:
        """Change the state by one event."""
        match event:
            case OrdersWithdrawn():
                self.withdrawn[event.follower_shard] = event.first_number + len(event.subscriptions)
                self._gone.setdefault(event.sequence, []).append(event)
            case OwnerFenced() | BlocksAnswered():
                pass
            case _:
                raise AssertionError(f"a gateway shard cannot apply {type(event).__name__}")

    def state(self) -> State:
        """Name everything as columns. Taken only while everything read is answered: orders wait in no state, but frames
        with withdrawn orders may still be ahead of an owner that reads again.
        """
        known = [
            (
                v.shard,
                v.chain.number,
                v.chain.hash,
                v.chain.epoch,
                v.brokers,
                [(*key, text) for key, text in sorted(v.symbols.items())],
            )
            for v in (self.views[shard] for shard in sorted(self.views))
        ]
        state: State = {
            "known": np.frombuffer(msgspec.msgpack.encode((known, sorted(self.withdrawn.items()))), np.uint8),
            "cursors": cursors_column(self.cursors),
            "read_sequence": np.array([self.read_sequence], np.int64),
            "gone": np.frombuffer(encode_sections(self._gone_events()), np.uint8),
        }
        for shard, view in self.views.items():
            state |= view.accounts.state(f"{shard}.account") | view.subscriptions.state(
                f"{shard}.subscription"
            )
        return state

    def _gone_events(self) -> list[OrdersWithdrawn]:
        return [event for sequence in sorted(self._gone) for event in self._gone[sequence]]

    def cut(self) -> Cut:
        """Copy the state as it is now, to be encoded for a snapshot."""
        return whole_cut(self.state())

    def restore(self, state: State) -> None:
        """Take a state back."""
        gone = state.get("gone")
        for event in walk_sections(memoryview(gone.tobytes()), EVENT_TYPES) if gone is not None else ():
            self._gone.setdefault(event.sequence, []).append(event)
        known, withdrawn = msgspec.msgpack.decode(state["known"].tobytes())
        self.withdrawn = dict(withdrawn)
        self.cursors = cursors_from(state["cursors"])
        self.read_sequence = int(state["read_sequence"][0])
        for shard, number, digest, epoch, brokers, symbols in known:
            view = self.view(shard)
            view.chain = Chain(view.chain.key, number=number, hash=digest, epoch=epoch)
            view.brokers = list(brokers)
            view.symbols = {(creator_shard, instrument): text for creator_shard, instrument, text in symbols}
            view.accounts.restore(f"{shard}.account", state)
            view.subscriptions.restore(f"{shard}.subscription", state)
