"""Both states of an `EngineWorld` in the reference's values: decisions, open orders, positions,
money.

Nothing here decides or changes anything.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from engine.creator.shard import CreatorShard
from engine.follower.book import Book, SubscriptionStatus
from engine.follower.order_group import OrderGroup
from engine.follower.shard import FollowerShard
from engine.follower.sizing.valuation import equity_of
from engine.follower.slot import Slot
from engine.journal.events.orders import SignalDecided
from engine.values.dispositions import Disposition
from engine.values.order_ids import CauseKind, OrderKey
from tests.engine.journaled import Journaled
from tests.reference.values import Decision, Order, Portfolio, Position, Sleeve
from tests.reference.values import OrderKey as ReferenceKey

_CAUSES = {CauseKind.SIGNAL: "signal", CauseKind.COMMAND: "command"}


class WorldView:
    """A reader of both shards' live states. `numbers` are the instruments' numbers by symbol."""

    def __init__(
        self,
        creators: Journaled[CreatorShard],
        followers: Journaled[FollowerShard],
        numbers: Mapping[str, int],
    ) -> None:
        self._creators = creators
        self._followers = followers
        self._numbers = numbers

    # Names.

    def _pair(self, book: Book, row: int) -> tuple[str, str]:
        account = int(book.subscriptions["account"][row])
        creator = self._creators.live.creators[book.creator].creator_id
        return self._followers.live.state.account_ids.text(account), creator

    def _reference_key(self, key: OrderKey, book: Book, row: int) -> ReferenceKey:
        cause = _CAUSES[CauseKind(key.cause_kind)]
        return ReferenceKey(cause, key.cause_number, *self._pair(book, row), key.leg, key.attempt)

    # Decisions and orders.

    def decisions(self, events: list[SignalDecided]) -> list[Decision]:
        """Return what each active subscription decided."""
        return [decision for event in events for decision in self._decisions(event)]

    def _decisions(self, event: SignalDecided) -> Iterator[Decision]:
        book = self._followers.live.state.book_of[event.creator_shard, event.creator]
        symbol = self._creators.live.symbol(event.instrument)
        for index, number in enumerate(event.dispositions.tolist()):
            disposition = Disposition(number)
            if disposition is Disposition.INACTIVE:
                continue
            row, quantity = event.first_row + index, int(event.units[index]) * event.unit
            assert (disposition is Disposition.ORDERED) == (quantity > 0)
            order = self._ordered(event, book, row, quantity) if quantity else None
            pair = self._pair(book, row)
            yield Decision(*pair, symbol, event.leg, disposition.outcome, disposition.reason, order)

    def _ordered(self, event: SignalDecided, book: Book, row: int, quantity: int) -> Order:
        return Order(
            self._reference_key(event.key, book, row),
            self._creators.live.symbol(event.instrument),
            event.terms.side,
            quantity,
            event.terms.price,
            event.terms.limit_price,
            bool(event.terms.is_exit),
            quantity,
        )

    def _open(self) -> Iterator[tuple[Book, Slot, OrderGroup, int]]:
        shard = self._followers.live.state
        for book in shard.books:
            for slot in book.slots:
                for group in (*shard.orders.of_slot(slot, 1), *shard.orders.of_slot(slot, -1)):
                    for at in np.flatnonzero(group.is_open).tolist():
                        yield book, slot, group, at

    def key_of(self, order: Order) -> tuple[OrderKey, int]:
        """Find an open order. Returns: its key in the engine, and its subscription's number."""
        for book, _, group, at in self._open():
            row = int(group.rows[at])
            if self._reference_key(group.key, book, row) == order.key:
                return group.key, int(book.subscriptions["subscription"][row])
        raise AssertionError(f"expected an open order, found {order.key}")

    def open_orders(self) -> list[Order]:
        """Return the open orders, in the order of their keys."""
        orders = []
        for book, slot, group, at in self._open():
            row, quantity = int(group.rows[at]), int(group.quantity[at])
            orders.append(
                Order(
                    self._reference_key(group.key, book, row),
                    self._creators.live.symbol(slot.instrument),
                    group.terms.side,
                    quantity,
                    group.terms.price,
                    group.terms.limit_price,
                    bool(group.terms.is_exit),
                    quantity - int(group.filled[at]),
                    bool(group.is_cancelling[at]),
                )
            )
        return sorted(orders, key=lambda order: order.key)

    # Positions and money.

    def _row(self, account: str, creator: str) -> tuple[Book, int]:
        """Find the newest subscription of an account to a creator."""
        shard = self._followers.live.state
        number, creator_number = shard.account_ids.find(account), shard.creators[0, creator]
        book = shard.book_of[0, creator_number]
        rows = np.flatnonzero(book.subscriptions["account"] == number)
        return book, int(rows[-1])

    def position(self, account: str, creator: str, symbol: str) -> Position:
        """Return one holding; all zero when there is none."""
        book, row = self._row(account, creator)
        slot = book.slot_of.get(self._numbers[symbol])
        if slot is None:
            return Position(0, 0, 0, 0)
        return Position(*(int(value) for value in slot.values[:, row]))

    def sleeve(self, account: str, creator: str) -> Sleeve:
        """Return one subscription's money and status."""
        book, row = self._row(account, creator)
        rows = np.array([row])
        equity, beyond = equity_of(
            book.subscriptions["cash"][rows], [(book, rows)], [self._marks(creator)]
        )
        assert beyond is None
        status = SubscriptionStatus(int(book.subscriptions["status"][row])).name.lower()
        cash, reserved = (int(book.subscriptions[name][row]) for name in ("cash", "reserved"))
        return Sleeve(status, cash, reserved, int(equity[0]))

    def _marks(self, creator: str) -> dict[int, int]:
        """The marks that value a creator, by instrument."""
        shard, numbers = self._creators.live, sorted(self._numbers.values())
        found = next(each for each in shard.creators if each.creator_id == creator)
        return dict(zip(numbers, shard.marks.of(found).prices_of(numbers), strict=True))

    def portfolio(self, creator: str) -> Portfolio:
        """Return one creator's cash, positions and equity."""
        shard, marks = self._creators.live, self._marks(creator)
        found = next(each for each in shard.creators if each.creator_id == creator)
        value = sum(held * marks[number] // 10**8 for number, held in found.positions.items())
        positions = {shard.symbol(number): held for number, held in found.positions.items()}
        return Portfolio(found.cash, positions, found.cash + value)
