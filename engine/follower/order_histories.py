"""Histories of orders, read from a follower shard's journal.

Reports on orders that are not open, and on executions of long ago, are settled by these (P8).
Frames are given newest first, so reading ends where the oldest of the orders was placed. A section
of another cause is recognised by its first bytes and not decoded. What is decided while the journal
is read is noted as it happens.
"""

import struct
from collections.abc import Iterable
from typing import Any

import numpy as np

from engine.columns.sections import decode_body, section_bodies
from engine.follower.order_history import OrderHistory, PastExecution, Placing
from engine.journal.events import EVENT_TYPES
from engine.journal.events.orders import (
    ExecutionsApplied,
    OrdersPlaced,
    SignalDecided,
    TradesCorrected,
)
from engine.messages.blocks import exec_id_of
from engine.values.order_ids import CauseKind, OrderKey

Cause = tuple[int, int, int, int]
"""Kind, creator shard, number and leg: what all attempts share."""

_I64 = 8
_TEXT = struct.Struct("<H")
_CAUSE = struct.Struct("<4q")
_SIGNAL = struct.Struct("<3q")
_PLACED_CAUSE_AT = 3 * _I64


class OrderHistories:
    """Histories of the orders asked for, by key and subscription."""

    def __init__(self) -> None:
        self._of_key: dict[OrderKey, dict[int, OrderHistory]] = {}
        self._keys_of: dict[Cause, set[OrderKey]] = {}
        self._later: dict[tuple[OrderKey, int], list[PastExecution]] = {}
        self._open_count = 0
        self._is_read = False
        self.count = 0

    def want(self, key: OrderKey, subscription: int) -> None:
        """Ask for an order's history."""
        of_key = self._of_key.setdefault(key, {})
        if subscription not in of_key:
            of_key[subscription] = OrderHistory()
            self._keys_of.setdefault(key[:4], set()).add(key)
            self._open_count += 1
            self.count += 1

    def get(self, key: OrderKey, subscription: int) -> OrderHistory | None:
        """Return the history of an order, or None when it was not asked for."""
        return self._of_key.get(key, {}).get(subscription)

    @property
    def is_complete(self) -> bool:
        """True once the placing of every order was found: older frames say nothing about them."""
        return not self._open_count

    def read_back(self, sections: memoryview) -> None:
        """Take the sections of a frame, each frame older than the one before. Raises:
        SectionError.
        """
        for body in reversed(section_bodies(sections)):
            cause_of = _CAUSE_OF.get(body.tag)
            # A packed body is of many causes, told by its columns only.
            if cause_of is not None and (body.is_packed or cause_of(body.data) in self._keys_of):
                for event in reversed(decode_body(EVENT_TYPES[body.tag], body)):
                    self._take(event, is_past=True)

    def note(self, events: Iterable[Any]) -> None:
        """Take events decided since reading began, in order."""
        for event in events:
            if isinstance(
                event, SignalDecided | OrdersPlaced | ExecutionsApplied | TradesCorrected
            ):
                self._take(event, is_past=False)
        if self._is_read:
            self._join()

    def finish(self) -> None:
        """Join past and later executions: nothing older is to come."""
        self._is_read = True
        for of_key in self._of_key.values():
            for history in of_key.values():
                history.executions.reverse()
        self._join()

    def _join(self) -> None:
        for (key, subscription), later in self._later.items():
            self._of_key[key][subscription].executions += later
        self._later = {}

    def _take(self, event: Any, *, is_past: bool) -> None:
        match event:
            case SignalDecided():
                self._take_placed(event, event.units * event.unit)
            case OrdersPlaced():
                self._take_placed(event, event.quantities)
            case ExecutionsApplied() | TradesCorrected():
                self._take_executions(event, is_past=is_past)
            case _:
                raise AssertionError(f"no history is made of {type(event).__name__}")

    def _take_placed(self, event: SignalDecided | OrdersPlaced, quantities: Any) -> None:
        placed_as = event.key
        for key in self._keys_of.get(placed_as[:4], ()):
            for subscription, row in self._rows(key, event.subscriptions):
                quantity, history = int(quantities[row]), self._of_key[key][subscription]
                if not quantity:
                    continue
                history.attempt_last = max(history.attempt_last, placed_as.attempt)
                if placed_as.attempt == key.attempt and history.placed is None:
                    history.placed, history.quantity = _placing(event), quantity
                    self._open_count -= 1

    def _take_executions(
        self, event: ExecutionsApplied | TradesCorrected, *, is_past: bool
    ) -> None:
        key = event.key
        if key not in self._of_key:
            return
        for subscription, row in self._rows(key, event.subscriptions):
            execution = _execution(event, row)
            if is_past:
                self._of_key[key][subscription].executions.append(execution)
            else:
                self._later.setdefault((key, subscription), []).append(execution)

    def _rows(self, key: OrderKey, subscriptions: Any) -> list[tuple[int, int]]:
        """Return the rows that are of orders asked for, the last first, as past ones are taken."""
        wanted = self._of_key[key]
        if len(wanted) == 1:
            (only,) = wanted
            rows = np.flatnonzero(subscriptions == only)
        else:
            rows = np.flatnonzero(
                np.isin(subscriptions, np.fromiter(wanted, np.int64, len(wanted)))
            )
        return [(int(subscriptions[row]), int(row)) for row in rows[::-1].tolist()]


def _placing(event: SignalDecided | OrdersPlaced) -> Placing:
    return Placing(event.creator_shard, event.creator, event.instrument, event.terms)


def _execution(event: ExecutionsApplied | TradesCorrected, row: int) -> PastExecution:
    number, reference = int(event.numbers[row]), ""
    if isinstance(event, TradesCorrected):
        reference = exec_id_of(event.reference_prefix, int(event.reference_numbers[row]))
    return PastExecution(
        exec_id_of(event.prefix, number),
        int(event.exec_types[row]),
        int(event.quantities[row]),
        int(event.prices[row]),
        int(event.fees[row]),
        number >= 0,
        reference,
    )


def _signal_cause(body: memoryview) -> Cause:
    return (CauseKind.SIGNAL, *_SIGNAL.unpack_from(body))


def _placed_cause(body: memoryview) -> Cause:
    kind, creator_shard, number, leg = _CAUSE.unpack_from(body, _PLACED_CAUSE_AT)
    return kind, creator_shard, number, leg


def _applied_cause(body: memoryview) -> Cause:
    at = _I64
    for _ in range(2):
        at += _TEXT.size + _TEXT.unpack_from(body, at)[0]
    kind, creator_shard, number, leg = _CAUSE.unpack_from(body, at)
    return kind, creator_shard, number, leg


def _corrected_cause(body: memoryview) -> Cause:
    kind, creator_shard, number, leg = _CAUSE.unpack_from(body)
    return kind, creator_shard, number, leg


_CAUSE_OF = {
    SignalDecided.TAG: _signal_cause,
    OrdersPlaced.TAG: _placed_cause,
    ExecutionsApplied.TAG: _applied_cause,
    TradesCorrected.TAG: _corrected_cause,
}
"""Reads the cause of a section that is not packed. The golden bytes pin these layouts."""
