"""P7: cash, reservations, positions and open quantities, worked out again from the journal's events
and compared to the last unit.

    cash      = initial cash - buys (rounded up) + sells (rounded down) - fees
    position  = signed sum of executions
    open      = signed remainders of open orders
    reserved  = the most that open entries may still cost: the remainder of a buy at its limit, of a
                short at its price, rounded up, and the fee on it
"""

from collections.abc import Callable

import numpy as np

from cluster.audit.creator_cash import check_creator_cash
from cluster.audit.intents import order_name
from cluster.audit.report import Check
from cluster.audit.signals import ranks_in
from engine.follower.state import FollowerState
from engine.history.creators import CreatorTables
from engine.history.exact import fees_ceil, notionals
from engine.history.followers import FollowerTables
from engine.history.orders import Orders
from engine.history.outcomes import Outcomes
from engine.history.storage import Ints, filled_column, rows_where, slices
from engine.values.units import format_micros, format_quantity


class ConservationAudit:
    """One follower shard's money and positions."""

    def __init__(
        self, tables: FollowerTables, orders: Orders, outcomes: Outcomes, check: Check
    ) -> None:
        self._tables = tables
        self._storage = tables.storage
        self._orders = orders
        self._outcomes = outcomes
        self._check = check

    def run(self, state: FollowerState) -> None:
        """Compare the journal with a state at the same frame. Raises: OverflowError when an amount
        does not fit 64 bits.
        """
        table, check = self._tables.subscriptions, self._check
        subscriptions = self._orders.subscriptions
        beyond = rows_where(
            self._storage, len(subscriptions), lambda here: subscriptions[here] >= table.count
        )
        if len(beyond):
            check.fail(
                f"{order_name(self._orders, int(beyond[0]))}: expected a "
                "subscription of the shard, found none",
                len(beyond),
            )
            return
        check.count("subscriptions", table.count)
        check.count("accounts", len(self._tables.accounts))
        cash, reserved = self._cash(), self._reserved()
        if state.places.count != table.count:
            check.fail(
                f"follower shard {state.shard}: expected {table.count} "
                f"subscriptions, found {state.places.count}"
            )
            return
        found_cash, found_reserved = np.zeros_like(cash), np.zeros_like(cash)
        for book in state.books:
            numbers = book.subscriptions["subscription"]
            found_cash[numbers], found_reserved[numbers] = (
                book.subscriptions["cash"],
                book.subscriptions["reserved"],
            )
        everybody = range(len(cash))
        self._compare("cash", cash, found_cash, everybody, format_micros)
        self._compare("reserved", reserved, found_reserved, everybody, format_micros)
        self._compare_totals(found_cash)
        self._compare_positions(state)

    def _cash(self) -> Ints:
        cash, outcomes = np.array(self._tables.subscriptions["cash"], np.int64), self._outcomes
        for here in slices(self._storage, self._orders.rows_count):
            changes = outcomes.cash[here] - outcomes.fees[here]
            np.add.at(cash, self._orders.subscriptions[here], changes)
        return cash

    def _reserved(self) -> Ints:
        orders, outcomes = self._orders, self._outcomes
        reserved = np.zeros(self._tables.subscriptions.count, np.int64)
        prices = np.where(orders.sides > 0, orders.limit_prices, orders.prices)
        for here in slices(self._storage, orders.rows_count):
            is_open = np.flatnonzero(outcomes.leaves[here] > 0)
            is_open = is_open[orders.is_exits[orders.sections[here][is_open]] == 0]
            sections, leaves = orders.sections[here][is_open], outcomes.leaves[here][is_open]
            value = notionals(leaves, prices[sections]).ceils
            value += fees_ceil(value, orders.fee_rates[sections])
            np.add.at(reserved, orders.subscriptions[here][is_open], value)
        return reserved

    def _compare(
        self,
        what: str,
        expected: Ints,
        found: Ints,
        numbers: Ints | range,
        shown: Callable[[int], str],
    ) -> None:
        """Compare a column of the subscriptions called `numbers`."""
        wrong = np.flatnonzero(expected != found)
        if len(wrong):
            first = int(wrong[0])
            self._check.fail(
                f"{self._name(int(numbers[first]))}: expected {what} "
                f"{shown(int(expected[first]))}, found {shown(int(found[first]))}",
                len(wrong),
            )

    def _compare_totals(self, found_cash: Ints) -> None:
        """Compare the sums, in integers of any size: what came in, less what left, is there."""
        fees = self._total(self._outcomes.fees)
        given = total(np.array(self._tables.subscriptions["cash"], np.int64))
        expected = given + self._total(self._outcomes.cash) - fees
        if total(found_cash) != expected:
            found = format_micros(total(found_cash))
            self._check.fail(
                f"follower shard {self._tables.shard}: expected "
                f"{format_micros(expected)} of cash in total, found {found}"
            )
        self._check.count("fees_micros", fees)
        self._check.count("cash_micros", expected)

    def _total(self, column: Ints) -> int:
        return sum(total(column[here]) for here in slices(self._storage, len(column)))

    def _compare_positions(self, state: FollowerState) -> None:
        """Compare position and open quantity of every row in every instrument of every book."""
        orders, outcomes = self._orders, self._outcomes
        pairs = self._tables.pairs()
        ranks = ranks_in(pairs)
        offsets, size = self._slots(state)
        section_slots = self._section_slots(offsets)
        lost = rows_where(
            self._storage, orders.rows_count, lambda here: section_slots[orders.sections[here]] < 0
        )
        if len(lost):
            self._check.fail(
                f"{order_name(orders, int(lost[0]))}: expected its "
                "instrument among the positions, found none",
                len(lost),
            )
            return
        held, open_ = np.zeros(size, np.int64), np.zeros(size, np.int64)
        for here in slices(self._storage, orders.rows_count):
            sections = orders.sections[here]
            at = section_slots[sections] + ranks[orders.subscriptions[here]]
            sides = orders.sides[sections]
            np.add.at(held, at, sides * outcomes.filled[here])
            np.add.at(open_, at, sides * outcomes.leaves[here])
        for book in state.books:
            for slot in book.slots:
                start = offsets[book.creator_shard, book.creator, slot.instrument]
                here = slice(start, start + book.count)
                numbers = book.subscriptions["subscription"].astype(np.int64)
                symbol = self._tables.symbols[book.creator_shard, slot.instrument]
                for what, expected, found in (
                    ("position", held[here], slot.position[: book.count]),
                    ("open orders", open_[here], slot.open[: book.count]),
                ):
                    self._compare(f"{what} in {symbol}", expected, found, numbers, format_quantity)
        self._check.count("positions", size)

    def _section_slots(self, offsets: dict[tuple[int, int, int], int]) -> Ints:
        """Return the place where each section's position begins, -1 where there is none."""
        orders = self._orders

        def values(here: slice) -> list[int]:
            columns = (orders.creator_shards, orders.creators, orders.instruments)
            keys = zip(*(column[here].tolist() for column in columns), strict=True)
            return [offsets.get(key, -1) for key in keys]

        return filled_column(self._storage, len(orders.creators), np.int64, values)

    @staticmethod
    def _slots(state: FollowerState) -> tuple[dict[tuple[int, int, int], int], int]:
        offsets, size = {}, 0
        for book in state.books:
            for slot in book.slots:
                offsets[book.creator_shard, book.creator, slot.instrument] = size
                size += book.count
        return offsets, size

    def _name(self, subscription: int) -> str:
        account = self._tables.account_of(subscription)
        return (
            f"follower shard {self._tables.shard}, account {account}, subscription {subscription}"
        )


def total(column: Ints) -> int:
    """Return the sum of a column, as an integer of any size."""
    high, low = np.divmod(column, 1 << 31)
    return (int(high.sum()) << 31) + int(low.sum())


def check_creators(tables: CreatorTables, check: Check, order: Check) -> None:
    """Check a creator shard's portfolios: positions go on from fill to fill, cash follows from the
    fills, and signals count up by one.
    """
    fills = tables.fills()
    order.count("fills", fills.rows_count)
    check.count("creators", len(tables.ids))
    bad = np.flatnonzero(fills.signals != np.arange(1, fills.rows_count + 1))
    if len(bad):
        first = int(bad[0])
        where = f"creator shard {tables.shard}, frame {int(fills.frames[first])}"
        order.fail(
            f"{where}: expected signal {first + 1}, found {int(fills.signals[first])}", len(bad)
        )
    chain = np.lexsort((fills.instruments, fills.creators))
    before, after = fills.positions_before[chain], fills.positions_after[chain]
    starts = np.ones(len(chain), np.bool_)
    starts[1:] = (np.diff(fills.creators[chain]) != 0) | (np.diff(fills.instruments[chain]) != 0)
    wrong = before != np.where(starts, 0, np.roll(after, 1))
    wrong |= after != before + (fills.sides * fills.quantities)[chain]
    if wrong.any():
        row = int(chain[wrong].min())
        creator = tables.ids[int(fills.creators[row])]
        check.fail(
            f"creator {creator}, fill {fills.exec_ids[row]}: expected its "
            "position to go on from the fill before",
            int(wrong.sum()),
        )
    check_creator_cash(tables, check)
    ends = chain[np.roll(starts, -1)] if len(chain) else chain
    for row in ends.tolist():
        found = tables.state.creators[int(fills.creators[row])].positions.get(
            int(fills.instruments[row]), 0
        )
        if found != fills.positions_after[row]:
            creator, symbol = (
                tables.ids[int(fills.creators[row])],
                tables.symbols[int(fills.instruments[row])],
            )
            expected = format_quantity(int(fills.positions_after[row]))
            check.fail(
                f"creator {creator}: expected position in {symbol} "
                f"{expected}, found {format_quantity(found)}"
            )
