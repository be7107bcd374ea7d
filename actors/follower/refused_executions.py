"""Refused executions: the events that refuse them, in words for an operator."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from actors.ports import StoredMessage
from actors.shard.dead_letters import refused_input
from engine.follower.decide.executions import Unmatched
from engine.journal.events.shard import InputsRefused
from engine.messages.blocks import Report, exec_id_of
from engine.values.order_ids import format_order_id

REFUSED_EACH_MAX = 16
"""Up to so many executions are refused one by one, more of them in one event."""


class Refusal(NamedTuple):
    """Rows of a report that are refused, for one reason."""

    unmatched: Unmatched
    rows: NDArray[np.int64]


def refused_executions(
    shard: int, message: StoredMessage, refusals: Sequence[Refusal]
) -> Iterator[InputsRefused]:
    """Make the events that refuse rows of one message on a follower shard's orders. The rows of one
    reason that are many share an event.
    """
    of_reason: dict[str, list[Refusal]] = {}
    for refusal in refusals:
        of_reason.setdefault(refusal.unmatched.reason, []).append(refusal)
    for alike in of_reason.values():
        count = sum(len(refusal.rows) for refusal in alike)
        if count > REFUSED_EACH_MAX:
            yield _gathered(shard, message, alike, count)
            continue
        for unmatched, rows in alike:
            for row in rows.tolist():
                yield _one(shard, message, unmatched, row)


def _gathered(
    shard: int, message: StoredMessage, alike: Sequence[Refusal], count: int
) -> InputsRefused:
    ends = [(alike[0].unmatched, alike[0].rows[0]), (alike[-1].unmatched, alike[-1].rows[-1])]
    names = [_exec_id(unmatched.report, int(row)) for unmatched, row in ends]
    orders = [_order_id(shard, unmatched.report, int(row)) for unmatched, row in ends]
    why, reason = alike[0].unmatched.why, alike[0].unmatched.reason
    text = (
        f"{count} executions {names[0]} to {names[1]} of orders {orders[0]} to {orders[1]}: {why}"
    )
    return refused_input(
        message.sequence, message.subject, reason, text, f"{names[0]} to {names[1]}"
    )


def _one(shard: int, message: StoredMessage, unmatched: Unmatched, row: int) -> InputsRefused:
    report = unmatched.report
    name = _exec_id(report, row)
    text = f"execution {name} of order {_order_id(shard, report, row)}: {unmatched.why}"
    return refused_input(message.sequence, message.subject, unmatched.reason, text, name)


def _exec_id(report: Report, row: int) -> str:
    return exec_id_of(report.prefix, int(report.numbers[row]))


def _order_id(shard: int, report: Report, row: int) -> str:
    high = report.key.high(shard)
    return format_order_id(high, report.key.low(int(report.subscriptions[row])))
