"""Executions on their way out: numbered without gaps per follower shard, and packed into messages
under the size limit.

A message's bytes are fixed when its frame is written. They stand in the ledger verbatim, and leave
unchanged after any restart, under the same message id.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.columns.reductions import least, most
from engine.columns.section_types import Column, column_of
from engine.messages.blocks import CorrectionsReported, ExecutionsReported, Report, encode_block
from engine.values.order_status import ExecType
from gateways.brokers.ledger.records import MESSAGE_TAG, RECORD_HEADER, FrameDraft, OrdersTaken

MESSAGE_BYTES_MAX = (1 << 20) - 4096
"""Largest message: 1 MiB with room for subject and headers."""
_SECTION_BYTES = 512


class Message(NamedTuple):
    """One executions message: numbers `first` to `last` of a follower shard; `offset` and `length`
    are its place in the ledger.
    """

    follower_shard: int
    first: int
    last: int
    offset: int
    length: int
    data: bytes | None


class OrdersOutcome(NamedTuple):
    """One outcome of some orders of one record. Shapes: one row per order; quantities and fees are
    zero except for trades.
    """

    exec_type: ExecType
    subscriptions: NDArray[np.int64]
    quantities: NDArray[np.int64]
    price: int
    fees: NDArray[np.int64]
    transact_time: int
    text: str = ""


class ExecutionCorrection(NamedTuple):
    """A trade cancel or correction of an execution of this ledger. Units: 1e-8, micros, ns."""

    exec_type: ExecType
    exec_ref_id: str
    """The execution that is cancelled or corrected, by its latest id."""
    quantity: int
    price: int
    fee: int
    leaves: int
    """The quantity that the order works again."""
    transact_time: int


def no_trade(
    exec_type: ExecType, subscriptions: NDArray[np.int64], transact_time: int, text: str = ""
) -> OrdersOutcome:
    """Make an outcome that moves nothing."""
    zeros = np.zeros(len(subscriptions), np.int64)
    return OrdersOutcome(exec_type, subscriptions, zeros, 0, zeros, transact_time, text)


class Reports:
    """The executions of the frame being written. `prefix` begins all execution ids of the ledger;
    the shard follows it.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.last_numbers: dict[int, int] = {}
        self.waiting_count = 0
        self._sections: dict[int, list[tuple[int, Report]]] = {}

    def add(self, orders: OrdersTaken, outcome: OrdersOutcome) -> None:
        """Number an outcome's executions; nothing when it has no rows."""
        count = len(outcome.subscriptions)
        if not count:
            return
        shard = orders.follower_shard
        first = self.last_numbers.get(shard, 0) + 1
        self.last_numbers[shard] = first + count - 1
        self.waiting_count += count
        waiting = self._sections.setdefault(shard, [])
        row_bytes = _row_bytes(outcome)
        step = (MESSAGE_BYTES_MAX - _SECTION_BYTES) // row_bytes
        for start in range(0, count, step):
            rows = slice(start, min(start + step, count))
            section = self._section(orders, outcome, rows, first + start)
            waiting.append((_SECTION_BYTES + row_bytes * len(section.numbers), section))

    def prefix_of(self, shard: int) -> str:
        """Return the prefix of a follower shard's execution ids."""
        return f"{self.prefix}{shard}-"

    def add_correction(
        self, orders: OrdersTaken, subscription: int, correction: ExecutionCorrection
    ) -> str:
        """Number the correction of one order's execution. Returns: its execution id."""
        shard = orders.follower_shard
        number = self.last_numbers.get(shard, 0) + 1
        self.last_numbers[shard] = number
        self.waiting_count += 1
        prefix = self.prefix_of(shard)
        section = _correction_section(orders, subscription, correction, number, prefix)
        self._sections.setdefault(shard, []).append((2 * _SECTION_BYTES, section))
        return f"{prefix}{number}"

    def message_id(self, message: Message) -> str:
        """Return a message's id: the execution id that it begins with."""
        return f"{self.prefix_of(message.follower_shard)}{message.first}"

    def write_into(self, draft: FrameDraft) -> list[Message]:
        """Pack what was added into messages and the messages into a frame."""
        messages = []
        for shard, waiting in self._sections.items():
            for sections in _packed(waiting):
                data = encode_block(*sections)
                offset = draft.add_body(MESSAGE_TAG, data) + RECORD_HEADER.size
                numbers = int(sections[0].numbers[0]), int(sections[-1].numbers[-1])
                messages.append(Message(shard, *numbers, offset, len(data), data))
        self._sections.clear()
        self.waiting_count = 0
        return messages

    def _section(
        self, orders: OrdersTaken, outcome: OrdersOutcome, rows: slice, first: int
    ) -> ExecutionsReported:
        subscriptions = outcome.subscriptions[rows]
        count = len(subscriptions)
        return ExecutionsReported(
            follower_shard=orders.follower_shard,
            prefix=self.prefix_of(orders.follower_shard),
            key=orders.key,
            transact_time=outcome.transact_time,
            numbers=np.arange(first, first + count),
            subscriptions=subscriptions,
            exec_types=np.full(count, outcome.exec_type, np.int64),
            quantities=outcome.quantities[rows],
            prices=np.full(count, outcome.price, np.int64),
            fees=outcome.fees[rows],
            text=outcome.text,
        )


def _correction_section(
    orders: OrdersTaken,
    subscription: int,
    correction: ExecutionCorrection,
    number: int,
    prefix: str,
) -> CorrectionsReported:
    return CorrectionsReported(
        follower_shard=orders.follower_shard,
        prefix=prefix,
        reference_prefix=prefix,
        key=orders.key,
        transact_time=correction.transact_time,
        numbers=column_of(number),
        reference_numbers=column_of(int(correction.exec_ref_id.removeprefix(prefix))),
        subscriptions=column_of(subscription),
        exec_types=column_of(correction.exec_type),
        quantities=column_of(correction.quantity),
        prices=column_of(correction.price),
        fees=column_of(correction.fee),
        leaves=column_of(correction.leaves),
    )


def _row_bytes(outcome: OrdersOutcome) -> int:
    """Bound the bytes of a row: 1 for the number as a difference; exec types and prices are
    constant.
    """
    width = 1
    for column in (outcome.subscriptions, outcome.quantities, outcome.fees):
        width += _width(column)
    return width


def _width(column: Column) -> int:
    span = most(column) - least(column)
    return 1 if span < 1 << 8 else 2 if span < 1 << 16 else 4 if span < 1 << 32 else 8


def _packed(waiting: list[tuple[int, Report]]) -> Iterator[list[Report]]:
    packed: list[Report] = []
    size = 0
    for section_bytes, section in waiting:
        if packed and size + section_bytes > MESSAGE_BYTES_MAX:
            yield packed
            packed, size = [], 0
        packed.append(section)
        size += section_bytes
    if packed:
        yield packed
