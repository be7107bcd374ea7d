"""The command `resolve_order`: an operator says what became of an order of which the broker says
nothing.

It is decided and applied as a broker's report (`engine.follower.decide.executions`). What the
broker reports of the order later is decided as for any other order. The execution has a number made
of the order and the command, so a repeated command is known as a repeated execution is (P8).
"""

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import numpy as np

from engine.columns.section_types import Column
from engine.columns.state import hash_64
from engine.follower.decide.command_scope import CommandScope, Pair, Place
from engine.follower.decide.executions import Unmatched, decide_reports
from engine.journal.events.orders import RESOLVED_PREFIX, OrderResolved
from engine.messages.answers import Answer, Elsewhere, Resolved
from engine.messages.blocks import ExecutionsReported
from engine.messages.commands import Pause, ResolveOrder, Resume, Unfollow
from engine.values.refusals import Refused
from engine.values.units import format_quantity

ROWS_OF_RESOLVED = 32
"""The weight of an order among rows of a few numbers: two events, a text and what follows up."""
INT64_MAX = (1 << 63) - 1
NO_SEQUENCE = 0
"""The sequence of a report that is in no stream."""


class _Resolving(NamedTuple):
    """An order that is resolved in this batch: the account's broker, the event that says so, and
    the report.
    """

    broker: str
    event: OrderResolved
    report: ExecutionsReported


class Resolves:
    """The `resolve_order` commands of one batch."""

    waits_for = (ResolveOrder, Pause, Resume, Unfollow)

    def __init__(self, scope: CommandScope) -> None:
        self._scope = scope
        self._state = scope.state
        self._resolving: dict[Pair, _Resolving] = {}

    @property
    def gathered(self) -> Collection[object]:
        """The accounts and creators of the orders that are resolved and not yet applied."""
        return self._resolving

    def locate(self, command: ResolveOrder) -> Pair | Refused | Elsewhere:
        """Find the account, and the creator that it copies with the order."""
        account = self._scope.locate_account(command)
        if not isinstance(account, int):
            return account
        place = self._place_of(command)
        if place is None or int(place[0].subscriptions["account"][place[1]]) != account:
            return Refused(
                "unknown_order",
                f"order {command.order_id}: expected one of account {command.account_id}, "
                "found none",
            )
        return account, place[0].creator_shard, place[0].creator

    def _place_of(self, command: ResolveOrder) -> Place | None:
        """Find the subscription of an order."""
        order, state = command.order_id, self._state
        if order.shard != state.shard or order.subscription >= state.places.count:
            return None
        book = state.books[int(state.places["book"][order.subscription])]
        return book, int(state.places["row"][order.subscription])

    def find_repeat(self, command: ResolveOrder, target: Pair, command_hash: int) -> Answer | None:
        """Return the answer as it was, if the command's execution was applied."""
        broker, number = self._scope.broker_of(target[0]), _one(_number_of(command))
        is_repeat = self._state.execution_ids.seen(broker, RESOLVED_PREFIX, number)[0]
        return Resolved(str(command.order_id)) if is_repeat else None

    def decide(self, command: ResolveOrder, target: Pair, command_hash: int) -> Answer:
        """Take the word on an open order, within what is left of it."""
        order = command.order_id
        report, broker = self._report(command), self._scope.broker_of(target[0])
        first = next(decide_reports(self._scope.deciding, broker, report, NO_SEQUENCE))
        if isinstance(first, Unmatched):
            return self._refused(command)
        event = OrderResolved(
            order.key, order.subscription, _number_of(command), command.command_id, command.text
        )
        self._resolving[target] = _Resolving(broker, event, report)
        self._scope.rows += ROWS_OF_RESOLVED
        return Resolved(str(order))

    def _report(self, command: ResolveOrder) -> ExecutionsReported:
        order = command.order_id
        return ExecutionsReported(
            order.shard,
            RESOLVED_PREFIX,
            order.key,
            self._scope.deciding.now_ns,
            _one(_number_of(command)),
            _one(order.subscription),
            _one(command.exec_type),
            _one(command.last_qty),
            _one(command.last_px),
            _one(command.fee),
        )

    def _refused(self, command: ResolveOrder) -> Refused:
        place = self._place_of(command)
        assert place is not None
        left = self._state.orders.open_quantity(command.order_id.key, *place)
        if not left:
            return Refused(
                "unknown_order",
                f"order {command.order_id}: expected an open order, found none; it is over, or "
                "was never placed",
            )
        if command.last_qty > left:
            return Refused(
                "overfill",
                f"last_qty: expected at most {format_quantity(left)}, which is left of the order, "
                f"found {format_quantity(command.last_qty)}",
            )
        return Refused(
            "out_of_range",
            "last_px: expected a trade and a cash balance within the largest values, found one "
            "beyond them",
        )

    def flush(self) -> Iterator[Any]:
        """Yield for each order who resolved it, how, and what follows."""
        resolving = list(self._resolving.values())
        self._resolving.clear()
        for broker, event, report in resolving:
            yield event
            for decided in decide_reports(self._scope.deciding, broker, report, NO_SEQUENCE):
                assert not isinstance(decided, Unmatched), "the order was open when it was decided"
                yield decided


def _number_of(command: ResolveOrder) -> int:
    """Return the number of the execution that a command makes: 63 bits of a hash."""
    return hash_64(f"{command.order_id}/{command.command_id}") & INT64_MAX


def _one(value: int) -> Column:
    return np.array([value], np.int64)
