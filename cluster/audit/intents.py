"""P1: every order id stands once, every order has the cause that its id names, and attempts follow
each other.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cluster.audit.fill_index import FillIndex
from cluster.audit.report import Check
from engine.history.followers import FollowerTables
from engine.history.orders import Orders
from engine.history.outcomes import OrderIndex
from engine.history.storage import Ints, U64s, rows_where
from engine.values.order_ids import CauseKind, format_order_id

_NUMBER_MASK = np.uint64((1 << 36) - 1)


def order_name(orders: Orders, row: int) -> str:
    """Return an order's id and frame, in words."""
    section = int(orders.sections[row])
    high, tail = int(orders.cause_highs[section]), int(orders.tails[section])
    low = int(orders.subscriptions[row]) << 32 | tail
    return (
        f"order {format_order_id(high, low)} of follower shard "
        f"{orders.shard}, frame {int(orders.frames[section])}"
    )


class IntentsAudit:
    """One follower shard's orders."""

    def __init__(
        self,
        tables: FollowerTables,
        orders: Orders,
        index: OrderIndex,
        fills: dict[int, FillIndex],
        check: Check,
    ) -> None:
        self._tables = tables
        self._orders = orders
        self._index = index
        self._fills = fills
        self._check = check

    def run(self, netted: tuple[U64s, U64s]) -> None:
        """Check every order. `netted` are the ids that attempt 0 of netted signals would have
        had.
        """
        orders, check = self._orders, self._check
        check.count("orders", orders.rows_count)
        check.count("causes", self._index.causes.highs_count)
        self._fail(self._index.repeated(), "expected its id once, found it again")
        self._fail(
            self._where(lambda here: orders.quantities[here] <= 0),
            "expected a quantity above zero, found none",
        )
        self._check_owners()
        self._check_signals()
        self._check_commands()
        self._check_attempts(netted)

    def _where(self, is_wanted: Callable[[slice], NDArray[np.bool_]]) -> Ints:
        return rows_where(self._tables.storage, self._orders.rows_count, is_wanted)

    def _fail(self, rows: Ints, what: str) -> None:
        if len(rows):
            row = int(rows.min())
            account = self._tables.account_of(int(self._orders.subscriptions[row]))
            self._check.fail(
                f"{order_name(self._orders, row)}, account {account}: {what}", len(rows)
            )

    def _check_owners(self) -> None:
        orders, pairs = self._orders, self._tables.pairs()
        unknown = self._where(lambda here: orders.subscriptions[here] >= len(pairs))
        self._fail(unknown, "expected a subscription of the shard, found none of this number")
        creators = orders.creator_shards << 32 | orders.creators

        def is_of_another(here: slice) -> NDArray[np.bool_]:
            subscriptions = orders.subscriptions[here]
            is_known = subscriptions < len(pairs)
            owners = pairs[np.where(is_known, subscriptions, 0)]
            differs: NDArray[np.bool_] = is_known & (owners != creators[orders.sections[here]])
            return differs

        if len(pairs):
            self._fail(
                self._where(is_of_another), "expected its subscription's creator, found another"
            )

    def _kinds(self) -> tuple[Ints, Ints, Ints]:
        """Return kind, creator shard and number of the causes, one per section."""
        highs = self._orders.cause_highs
        kinds = (highs >> np.uint64(48) & np.uint64(3)).astype(np.int64)
        creator_shards = (highs >> np.uint64(36) & np.uint64(0xFFF)).astype(np.int64)
        return kinds, creator_shards, (highs & _NUMBER_MASK).astype(np.int64)

    def _check_signals(self) -> None:
        """Check that every order of a signal follows from a leg of a fill of its own creator and
        instrument.
        """
        orders = self._orders
        kinds, creator_shards, numbers = self._kinds()
        is_known = np.zeros(len(kinds), np.bool_)
        for creator_shard, index in self._fills.items():
            here = np.flatnonzero((kinds == CauseKind.SIGNAL) & (creator_shards == creator_shard))
            if not len(here) or not index.fills.rows_count:
                continue
            fills, rows = index.fills, index.rows_of(numbers[here])
            same = (rows >= 0) & (orders.creator_shards[here] == creator_shard)
            same &= (fills.creators[rows] == orders.creators[here]) & (
                orders.legs[here] < fills.legs_counts[rows]
            )
            is_known[here] = same & (fills.instruments[rows] == orders.instruments[here])
        is_known |= kinds == CauseKind.COMMAND
        lacking = self._where(lambda here: ~is_known[orders.sections[here]])
        self._fail(lacking, "expected the fill that caused it, found none")

    def _check_commands(self) -> None:
        """Check that every order of a command belongs to a subscription that this command ended."""
        orders, causes = self._orders, self._tables.subscriptions["ending_cause"]
        kinds, _, numbers = self._kinds()
        is_command = kinds == CauseKind.COMMAND

        def is_wrong(here: slice) -> NDArray[np.bool_]:
            sections = orders.sections[here]
            wrong: NDArray[np.bool_] = is_command[sections]
            rows = np.flatnonzero(wrong)
            wrong[rows] = causes[orders.subscriptions[here][rows]] != numbers[sections[rows]]
            return wrong

        if is_command.any():
            wrong = self._where(is_wrong)
            self._fail(
                wrong, "expected a command that ended its subscription, found none of this number"
            )

    def _check_attempts(self, netted: tuple[U64s, U64s]) -> None:
        """Check that each attempt follows the one before it. The first after a cancel may also
        follow from the netted signal or command.
        """
        orders = self._orders
        kinds, _, _ = self._kinds()
        is_further, is_first = orders.attempts > 0, orders.attempts == 1
        is_first_of_command = is_first & (kinds == CauseKind.COMMAND)
        further = 0

        def has_none_before(here: slice) -> NDArray[np.bool_]:
            nonlocal further
            lacks: NDArray[np.bool_] = is_further[orders.sections[here]]
            rows = np.flatnonzero(lacks)
            further += len(rows)
            highs, lows = orders.ids(rows + here.start)
            lacks[rows] = self._index.find(highs, lows - np.uint64(1)) < 0
            lacks &= ~is_first_of_command[orders.sections[here]]
            return lacks

        rows = self._where(has_none_before) if is_further.any() else np.zeros(0, np.int64)
        self._check.count("further_attempts", further)
        if len(rows):
            highs, lows = orders.ids(rows)
            has_cause = is_first[orders.sections[rows]] & _are_in(
                highs, lows - np.uint64(1), netted
            )
            self._fail(
                rows[~has_cause],
                "expected the attempt before it, or a netted signal, found neither",
            )


def _are_in(highs: U64s, lows: U64s, among: tuple[U64s, U64s]) -> NDArray[np.bool_]:
    """Return which ids are among others."""
    count = len(highs)
    pairs = np.stack((np.concatenate((highs, among[0])), np.concatenate((lows, among[1]))), axis=1)
    _, numbers = np.unique(pairs, axis=0, return_inverse=True)
    found: NDArray[np.bool_] = np.isin(numbers.reshape(-1)[:count], numbers.reshape(-1)[count:])
    return found
