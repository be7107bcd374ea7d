"""A broker gateway's state: what it has learned from the follower journals, and which orders are still its
own.

Follower frames name subscriptions by number; the gateway learns from the same frames which account each
belongs to and which broker that trades at, and makes blocks for its broker (`engine.blocks`). Frames up to
the ORDERS cursor are answered; that cursor is all that its own journal must remember, but for a broker that
takes an order id again: then also what left (`engine.sendings`).
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.blocks import AccountsRegistered, CancelsSubmitted, OrdersSubmitted
from engine.chain import Chain
from engine.creator import cursors_column, cursors_from
from engine.cut import Cut, whole_cut
from engine.events import EVENT_TYPES
from engine.events.gateway import BlocksAnswered, OrdersParked, OrdersWithdrawn, SendingBegan, SendingEnded
from engine.events.orders import CancelsRequested, OrdersPlaced, SignalDecided
from engine.events.shard import InputAttempted, OwnerFenced
from engine.events.subscriptions import AccountsOpened, InstrumentsLearned, SubscriptionsOpened
from engine.frame import NO_HASH, Cursor, FrameHead, ShardKey, ShardKind, Source
from engine.identity import CauseKind, OrderKey, key_of, key_of_cause
from engine.masks import rows_of
from engine.outgoing import Outgoing
from engine.sections import encode_sections, walk_sections
from engine.sendings import Sendings
from engine.tables import State, Table

_SIGNAL = int(CauseKind.SIGNAL)
MARK_FRAMES = 1024
MARKS_MAX = 64
"""Beyond it every other one is forgotten: an owner that reads on from further back only reads more."""


class FollowerView:
    """One follower shard as the gateway knows it."""

    def __init__(self, shard: int) -> None:
        self.shard = shard
        self.chain = Chain(ShardKey(ShardKind.FOLLOWER, shard))
        self.symbols: dict[tuple[int, int], str] = {}
        self.brokers: list[str] = []
        self.accounts = Table({"broker": np.uint8})
        self.subscriptions = Table({"account": np.uint32})

    def learn(self, event: Any) -> None:
        """Take over what an event introduces. A frame may be read again: what is known already changes nothing."""
        match event:
            case AccountsOpened():
                for broker in event.brokers:
                    if broker not in self.brokers:
                        self.brokers.append(broker)
                numbers = np.array([self.brokers.index(broker) for broker in event.brokers], np.int64)
                new = event.broker_of[self.accounts.count - event.first :]
                self.accounts.append({"broker": numbers[new]})
            case SubscriptionsOpened():
                new = event.accounts[self.subscriptions.count - event.first :]
                self.subscriptions.append({"account": new})
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
                key = OrderKey(_SIGNAL, event.creator_shard, event.signal, event.leg, 0)
                subscriptions, units = _placed(event.subscriptions, event.units)
                yield from self._orders(
                    broker, sequence, frame, event, key, subscriptions, units * event.unit
                )
            case OrdersPlaced():
                key = key_of_cause(event)
                placed = _placed(event.subscriptions, event.quantities)
                yield from self._orders(broker, sequence, frame, event, key, *placed)
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
        if self.brokers != [broker]:
            mine = self._is_of(broker, subscriptions)
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


def _placed(
    subscriptions: NDArray[np.int64], quantities: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Leave out the rows that place nothing."""
    chosen = rows_of(quantities)
    if len(chosen) == len(quantities):
        return subscriptions, quantities
    return subscriptions[chosen], quantities[chosen]


class Mark(NamedTuple):
    """How far each follower shard's journal was read at a sequence: number, hash and epoch by shard."""

    sequence: int
    chains: dict[int, tuple[int, bytes, int]]


class GatewayShard:
    """What one broker's gateway remembers.

    It may be asked for its state with orders in hand: they are in no state, but their frames are read again. So the state is one
    that reads on from a mark before the first of them, while what was learned since is kept.
    """

    def __init__(self) -> None:
        self.cursors: dict[tuple[Source, int], Cursor] = {}
        self.views: dict[int, FollowerView] = {}
        self.read_sequence = 0
        self._marks = [Mark(0, {})]
        self.withdrawn: dict[int, int] = {}
        self.sendings = Sendings()
        self.parked_count = 0
        """Orders of which nobody could say whether the broker has them."""
        self._gone: dict[int, list[OrdersWithdrawn | OrdersParked]] = {}

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

    def mark(self) -> None:
        """Remember how far everything is read, now and then: a state can only go back to a mark."""
        if self.read_sequence - self._marks[-1].sequence >= MARK_FRAMES:
            if len(self._marks) >= MARKS_MAX:
                del self._marks[1::2]
            self._marks.append(self._mark_here())

    def pass_marks(self, answered: int) -> None:
        """Forget the marks before the last one up to which every order is answered."""
        if answered >= self.read_sequence:
            self._marks = [self._mark_here()]
        while len(self._marks) > 1 and self._marks[1].sequence <= answered:
            del self._marks[0]

    def _mark_here(self) -> Mark:
        chains = {v.shard: (v.chain.number, v.chain.hash, v.chain.epoch) for v in self.views.values()}
        return Mark(self.read_sequence, chains)

    def apply(self, head: FrameHead, events: list[Any]) -> None:
        """Change the state by a frame of the gateway's own journal."""
        for event in events:
            self.apply_event(event)
        self.cursors.update({(cursor.source, cursor.shard): cursor for cursor in head.cursors})
        self.forget_passed()

    def apply_frames(self, frames: Sequence[tuple[FrameHead, list[Any]]]) -> None:
        """Change the state by frames in their order."""
        for head, events in frames:
            self.apply(head, events)

    def forget_passed(self) -> None:
        """Forget withdrawn and parked orders, and sendings, of frames that the ORDERS cursor has passed: these
        are not read for sending again.
        """
        self.sendings.forget_passed(self.answered_sequence)
        for sequence in [sequence for sequence in self._gone if sequence <= self.answered_sequence]:
            del self._gone[sequence]

    def without_withdrawn(self, outgoing: Outgoing) -> Outgoing:
        """Leave out the orders that were withdrawn or parked before: their frame is read again after a
        restart, they must not be sent.
        """
        for event in self._gone.get(outgoing.sequence, ()):
            if outgoing.key == key_of(event) and outgoing.follower_shard == event.follower_shard:
                outgoing = outgoing.of_rows(~np.isin(outgoing.orders.subscriptions, event.subscriptions))
        return outgoing

    def apply_event(self, event: Any) -> None:
        """Change the state by one event."""
        match event:
            case OrdersWithdrawn():
                self.withdrawn[event.follower_shard] = event.first_number + len(event.subscriptions)
                self._gone.setdefault(event.sequence, []).append(event)
            case OrdersParked():
                self.parked_count += len(event.subscriptions)
                self._gone.setdefault(event.sequence, []).append(event)
            case SendingBegan():
                self.sendings.apply_began(event)
            case SendingEnded():
                self.sendings.apply_ended(event)
            case OwnerFenced() | InputAttempted() | BlocksAnswered():
                pass
            case _:
                raise AssertionError(f"a gateway shard cannot apply {type(event).__name__}")

    def state(self) -> State:
        """Name everything as columns, as of the first mark kept: frames with orders in hand, and with withdrawn ones, are ahead of an
        owner that reads on from it.
        """
        mark = self._marks[0]
        known = [
            (
                v.shard,
                *mark.chains.get(v.shard, (0, NO_HASH, 0)),
                v.brokers,
                [(*key, text) for key, text in sorted(v.symbols.items())],
            )
            for v in (self.views[shard] for shard in sorted(self.views))
        ]
        sendings = (self.sendings.next_number, self.sendings.rows(), self.parked_count)
        texts = msgspec.msgpack.encode((known, sorted(self.withdrawn.items()), sendings))
        state: State = {
            "known": np.frombuffer(texts, np.uint8),
            "cursors": cursors_column(self.cursors),
            "read_sequence": np.array([mark.sequence], np.int64),
            "gone": np.frombuffer(encode_sections(self._gone_events()), np.uint8),
        }
        for shard, view in self.views.items():
            state |= view.accounts.state(f"{shard}.account") | view.subscriptions.state(
                f"{shard}.subscription"
            )
        return state

    def _gone_events(self) -> list[OrdersWithdrawn | OrdersParked]:
        return [event for sequence in sorted(self._gone) for event in self._gone[sequence]]

    def cut(self) -> Cut:
        """Copy the state as it is now, to be encoded for a snapshot."""
        return whole_cut(self.state())

    def restore(self, state: State) -> None:
        """Take a state back."""
        gone = state.get("gone")
        for event in walk_sections(memoryview(gone.tobytes()), EVENT_TYPES) if gone is not None else ():
            self._gone.setdefault(event.sequence, []).append(event)
        known, withdrawn, *later = msgspec.msgpack.decode(state["known"].tobytes())
        self.withdrawn = dict(withdrawn)
        if later:
            next_number, rows, self.parked_count = later[0]
            self.sendings.restore(next_number, rows)
        self.cursors = cursors_from(state["cursors"])
        self.read_sequence = int(state["read_sequence"][0])
        for shard, number, digest, epoch, brokers, symbols in known:
            view = self.view(shard)
            view.chain = Chain(view.chain.key, number=number, hash=digest, epoch=epoch)
            view.brokers = list(brokers)
            view.symbols = {(creator_shard, instrument): text for creator_shard, instrument, text in symbols}
            view.accounts.restore(f"{shard}.account", state)
            view.subscriptions.restore(f"{shard}.subscription", state)
        self._marks = [self._mark_here()]
