"""What a follower shard's journal says of some orders: how each was placed, and every execution of
it, the corrected ones too.

Hot state knows open orders only; reports on others, and on executions of long ago, are settled by
this (P8). Frames are given newest first, so reading ends where the last of the orders was placed;
sections of other causes are told by their first bytes and not decoded. What is decided while the
journal is read is noted as it happens.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from engine.columns.sections import decode_body, section_bodies
from engine.journal.events import EVENT_TYPES
from engine.journal.events.orders import (
    ExecutionsApplied,
    OrdersPlaced,
    SignalDecided,
    TradesCorrected,
)
from engine.values.order_ids import CauseKind, OrderKey, key_of, key_of_cause
from engine.values.order_status import ExecType

Cause = tuple[int, int, int, int]
"""Kind, creator shard, number and leg: what all attempts share."""

_I64 = 8
_TEXT = struct.Struct("<H")
_CAUSE = struct.Struct("<4q")
_SIGNAL = struct.Struct("<3q")
_PLACED_CAUSE_AT = 3 * _I64
_TRADES = (ExecType.TRADE, ExecType.TRADE_CORRECT)


class OrderTerms(NamedTuple):
    """An order's terms as they were placed, but for its quantity; orders of one key may differ in
    them.
    """

    creator_shard: int
    creator: int
    instrument: int
    side: int
    is_exit: int
    price: int
    limit_price: int
    expire_time: int
    fee_rate: int
    transact_time: int


class PastExecution(NamedTuple):
    """An execution that was applied. `reference` names the one it cancelled or corrected, else it
    is empty.
    """

    exec_id: str
    exec_type: int
    quantity: int
    price: int
    fee: int
    is_numbered: bool
    reference: str = ""


def exec_id_of(prefix: str, number: int) -> str:
    """Name an execution."""
    return prefix if number < 0 else f"{prefix}{number}"


@dataclass(slots=True)
class OrderHistory:
    """One order: `executions` in the order they were applied; `attempt_last` is the last attempt
    placed for its cause and leg.
    """

    placed: OrderTerms | None = None
    quantity: int = 0
    attempt_last: int = 0
    executions: list[PastExecution] = field(default_factory=list)

    def has(self, exec_id: str) -> bool:
        """Say whether an execution was applied to the order."""
        return any(execution.exec_id == exec_id for execution in self.executions)

    def replaced_by(self, exec_id: str) -> PastExecution | None:
        """Find what cancelled or corrected an execution."""
        return next((each for each in self.executions if each.reference == exec_id), None)

    def find(self, exec_id: str) -> PastExecution | None:
        """Find an execution."""
        return next((each for each in self.executions if each.exec_id == exec_id), None)

    @property
    def filled(self) -> int:
        """What its trades have filled, those cancelled or corrected left out."""
        replaced = {each.reference for each in self.executions if each.reference}
        return sum(
            each.quantity
            for each in self.executions
            if each.exec_type in _TRADES and each.exec_id not in replaced
        )

    @property
    def unnumbered(self) -> list[str]:
        """Name the ids of its executions that have no number."""
        return [each.exec_id for each in self.executions if not each.is_numbered]


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
        """Name what was asked for; None if it was not."""
        return self._of_key.get(key, {}).get(subscription)

    @property
    def is_complete(self) -> bool:
        """Whether every order's placing was found: older frames say nothing of them."""
        return not self._open_count

    def read_back(self, sections: memoryview) -> None:
        """Take a frame's sections, each frame older than the one before. Raises: SectionError."""
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
        """Put past and later executions batched: nothing older is to come."""
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
        cause: Cause
        match event:
            case SignalDecided():
                cause = (CauseKind.SIGNAL, event.creator_shard, event.signal, event.leg)
                self._take_placed(event, cause, 0, event.units * event.unit)
            case OrdersPlaced():
                cause = (event.cause_kind, event.cause_creator_shard, event.cause_number, event.leg)
                self._take_placed(event, cause, event.attempt, event.quantities)
            case ExecutionsApplied():
                self._take_executions(event, key_of(event), is_past=is_past)
            case TradesCorrected():
                self._take_executions(event, key_of_cause(event), is_past=is_past)
            case _:
                raise AssertionError(f"no history is made of {type(event).__name__}")

    def _take_placed(
        self, event: SignalDecided | OrdersPlaced, cause: Cause, attempt: int, quantities: Any
    ) -> None:
        for key in self._keys_of.get(cause, ()):
            for subscription, row in self._rows(key, event.subscriptions):
                quantity, history = int(quantities[row]), self._of_key[key][subscription]
                if not quantity:
                    continue
                history.attempt_last = max(history.attempt_last, attempt)
                if attempt == key.attempt and history.placed is None:
                    history.placed, history.quantity = _placed(event), quantity
                    self._open_count -= 1

    def _take_executions(
        self, event: ExecutionsApplied | TradesCorrected, key: OrderKey, *, is_past: bool
    ) -> None:
        if key not in self._of_key:
            return
        for subscription, row in self._rows(key, event.subscriptions):
            execution = _execution(event, row)
            if is_past:
                self._of_key[key][subscription].executions.append(execution)
            else:
                self._later.setdefault((key, subscription), []).append(execution)

    def _rows(self, key: OrderKey, subscriptions: Any) -> list[tuple[int, int]]:
        """Name the rows that are of orders asked for, the last first, as past ones are taken."""
        wanted = self._of_key[key]
        if len(wanted) == 1:
            (only,) = wanted
            rows = np.flatnonzero(subscriptions == only)
        else:
            rows = np.flatnonzero(
                np.isin(subscriptions, np.fromiter(wanted, np.int64, len(wanted)))
            )
        return [(int(subscriptions[row]), int(row)) for row in rows[::-1].tolist()]


def _placed(event: SignalDecided | OrdersPlaced) -> OrderTerms:
    return OrderTerms(
        event.creator_shard,
        event.creator,
        event.instrument,
        event.side,
        event.is_exit,
        event.price,
        event.limit_price,
        event.expire_time,
        event.fee_rate,
        event.transact_time,
    )


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
"""Where a section that is not packed says its cause: the layouts are pinned by the golden bytes."""
