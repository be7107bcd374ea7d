"""Executions on their way out: numbered without gaps per follower shard, and packed into messages
under the size cap.

A message's bytes are fixed when its frame is written: they stand in the ledger verbatim and go out
the same after any restart, under the same message id.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.columns.reductions import least, most
from engine.columns.sections import Column
from engine.messages.blocks import CorrectionsReported, ExecutionsReported, encode_block
from engine.values.order_status import ExecType
from gateways.brokers.ledger.records import MESSAGE_TAG, RECORD_HEADER, FrameDraft, OrdersTaken

MESSAGE_BYTES_MAX = (1 << 20) - 4096
"""Largest message: 1 MiB with room for subject and headers."""
_SECTION_BYTES = 512


Report = ExecutionsReported | CorrectionsReported


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


class Outcome(NamedTuple):
    """What happened to some orders of one record. Shapes: one row an order; quantities and fees are
    zero but for trades.
    """

    exec_type: ExecType
    subscriptions: NDArray[np.int64]
    quantities: NDArray[np.int64]
    price: int
    fees: NDArray[np.int64]
    transact_time: int
    text: str = ""


def no_trade(
    exec_type: ExecType, subscriptions: NDArray[np.int64], transact_time: int, text: str = ""
) -> Outcome:
    """Make an outcome that moves nothing."""
    zeros = np.zeros(len(subscriptions), np.int64)
    return Outcome(exec_type, subscriptions, zeros, 0, zeros, transact_time, text)


class Reports:
    """The executions of the frame being written; `prefix` is of all execution ids of the ledger,
    without the shard.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.last_numbers: dict[int, int] = {}
        self.waiting_count = 0
        self._sections: dict[int, list[tuple[int, Report]]] = {}

    def add(self, orders: OrdersTaken, outcome: Outcome) -> None:
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
        """Name the prefix of a follower shard's execution ids."""
        return f"{self._prefix}{shard}-"

    def next_number(self, shard: int) -> int:
        """Number an execution that is added next."""
        return self.last_numbers.get(shard, 0) + 1

    def add_correction(self, section: CorrectionsReported) -> None:
        """Add a correction that carries the next number."""
        shard = section.follower_shard
        self.last_numbers[shard] = int(section.numbers[-1])
        self.waiting_count += len(section.numbers)
        self._sections.setdefault(shard, []).append((2 * _SECTION_BYTES, section))

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
        self, orders: OrdersTaken, outcome: Outcome, rows: slice, first: int
    ) -> ExecutionsReported:
        subscriptions = outcome.subscriptions[rows]
        count = len(subscriptions)
        return ExecutionsReported(
            follower_shard=orders.follower_shard,
            prefix=self.prefix_of(orders.follower_shard),
            cause_kind=orders.cause_kind,
            creator_shard=orders.creator_shard,
            cause_number=orders.cause_number,
            leg=orders.leg,
            attempt=orders.attempt,
            transact_time=outcome.transact_time,
            numbers=np.arange(first, first + count),
            subscriptions=subscriptions,
            exec_types=np.full(count, outcome.exec_type, np.int64),
            quantities=outcome.quantities[rows],
            prices=np.full(count, outcome.price, np.int64),
            fees=outcome.fees[rows],
            text=outcome.text,
        )


def message_id(prefix: str, message: Message) -> str:
    """Name a message: the execution id that it begins with."""
    return f"{prefix}{message.follower_shard}-{message.first}"


def _row_bytes(outcome: Outcome) -> int:
    """Bound the bytes of a row: numbers 1 as differences, exec types and prices constant."""
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
