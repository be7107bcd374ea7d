"""The open orders that their broker should have reported on by now, found from time to time.

An order is waited for in three cases:

- its cancel was requested;
- it is an entry that has expired;
- it is an exit, and no report on it has come: no trade, and no `new`. An exit with a report may
  rest at the broker for as long as it takes.

An order is unanswered once its broker's time for an answer has passed. It is asked about then, and
again after pauses that double. Since when an order is waited for is no part of the state: an owner
begins anew, so a restart asks later, never earlier.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.columns.arithmetic import Int64s
from engine.columns.reductions import any_of
from engine.follower.order_group import OrderGroup
from engine.follower.state import FollowerState
from engine.journal.events.orders import OrdersUnanswered
from engine.messages.blocks import ExecutionsReported
from engine.values.order_status import ExecType
from engine.values.units import NS_PER_S

PAUSE_NS_MAX = 3600 * NS_PER_S
"""The longest pause before an order is asked about again, unless its broker has more time."""
GROUPS_EACH = 1024
ROWS_EACH = 1 << 18
"""So many groups, or groups of so many orders, are looked at in one step."""
ASKS_MAX = 12
"""Further asks are not counted."""


@dataclass(slots=True)
class _Watched:
    """A group under watch. Shapes: one row per order. `due` is when to ask, 0 while the order is
    not waited for; `asks` counts how often it was asked about.
    """

    group: OrderGroup
    due: Int64s
    asks: NDArray[np.uint8]
    is_new: NDArray[np.bool_]

    @classmethod
    def of(cls, group: OrderGroup) -> "_Watched":
        count = len(group.rows)
        return cls(
            group, np.zeros(count, np.int64), np.zeros(count, np.uint8), np.zeros(count, np.bool_)
        )

    def begin(self, is_waiting: NDArray[np.bool_], due: Int64s) -> None:
        """Begin to wait for orders, and end it for those that are waited for no more."""
        self.asks[~is_waiting] = 0
        self.due[~is_waiting] = 0
        began = is_waiting & (self.due == 0)
        self.due[began] = due[began]

    def pause(self, asked: NDArray[np.bool_], answer_ns: Int64s, now_ns: int) -> None:
        """Wait twice as long as the last time before the orders are asked about again."""
        asks = np.minimum(self.asks[asked], ASKS_MAX - 1).astype(np.int64) + 1
        longest = np.maximum(answer_ns[asked], PAUSE_NS_MAX)
        self.due[asked] = now_ns + np.minimum(answer_ns[asked] << asks, longest)
        self.asks[asked] = asks


class OrderWatch:
    """The watch over one shard's open orders. `answer_ns` is the time that each broker has for an
    answer, `default_ns` that of the others.

    Cost: a pass looks at every open group once, in steps. It keeps 10 B for each order of the
    groups in which an order is waited for.
    """

    def __init__(self, answer_ns: Mapping[str, int], default_ns: int) -> None:
        self._answer_ns = answer_ns
        self._default_ns = default_ns
        self._pause_ns = min([default_ns, *answer_ns.values()]) // 4
        self._watched: dict[int, _Watched] = {}
        self._left: list[OrderGroup] = []
        self._is_passing = False
        self._next_ns = 0
        self._counted = 0
        self.count = 0
        """The number of unanswered orders in the last whole pass."""

    def note_new(self, state: FollowerState, report: ExecutionsReported) -> None:
        """Take note of the orders that a broker says it works."""
        new = report.subscriptions[report.exec_types == int(ExecType.NEW)]
        new = new[(new >= 0) & (new < state.places.count)]
        for book, rows, _ in state.by_book(new) if len(new) else ():
            for group in state.orders.of_key(report.key):
                if group.book is book:
                    at, there = group.find(rows)
                    self._watch(group).is_new[at[there]] = True

    def _watch(self, group: OrderGroup) -> _Watched:
        """Return what is known of a group. It is kept with the group, so no other has its id."""
        watched = self._watched.get(id(group))
        if watched is None:
            watched = self._watched[id(group)] = _Watched.of(group)
        return watched

    def ask(
        self, state: FollowerState, now_ns: int, is_full: Callable[[], object] = lambda: False
    ) -> Iterator[OrdersUnanswered]:
        """Go on with the pass, or begin one if it is time. Yields: what is to be asked."""
        if not self._is_passing:
            if now_ns < self._next_ns:
                return
            self._left = state.orders.groups()
            self._is_passing, self._counted = True, 0
        rows = 0
        for _ in range(GROUPS_EACH):
            if not self._left or rows > ROWS_EACH or is_full():
                break
            group = self._left.pop()
            rows += len(group.rows)
            yield from self._look_at(state, group, now_ns)
        if not self._left:
            self._watched = {
                key: each for key, each in self._watched.items() if state.orders.holds(each.group)
            }
            self._is_passing, self._next_ns = False, now_ns + self._pause_ns
            self.count = self._counted

    def _look_at(
        self, state: FollowerState, group: OrderGroup, now_ns: int
    ) -> Iterator[OrdersUnanswered]:
        terms = group.terms
        is_over = 0 < terms.expire_time < now_ns
        if not (terms.is_exit or is_over or any_of(group.is_cancelling)):
            return
        if not state.orders.holds(group):
            return
        watched = self._watch(group)
        cancels = group.is_cancelling | is_over
        is_silent = (group.filled == 0) & ~watched.is_new & bool(terms.is_exit)
        is_waiting = group.is_open & (cancels | is_silent)
        answer_ns = self._answer_ns_of(state, group)
        watched.begin(is_waiting, now_ns + answer_ns)
        for is_first in (True, False):
            asked = is_waiting & (watched.due <= now_ns) & ((watched.asks == 0) == is_first)
            if any_of(asked):
                yield OrdersUnanswered(
                    group.key,
                    int(is_first),
                    group.subscriptions[asked].astype(np.int64),
                    cancels[asked].astype(np.int64),
                )
                watched.pause(asked, answer_ns, now_ns)
        self._counted += int(np.count_nonzero(watched.asks))

    def _answer_ns_of(self, state: FollowerState, group: OrderGroup) -> Int64s:
        """Return the time that the broker of each order has."""
        each = [self._answer_ns.get(broker, self._default_ns) for broker in state.brokers]
        if min(each) == max(each):
            return np.broadcast_to(np.int64(each[0]), len(group.rows))
        accounts = group.book.subscriptions["account"][group.span]
        times: Int64s = np.array(each, np.int64)[state.accounts["broker"][accounts]]
        return times
