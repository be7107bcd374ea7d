"""Refused executions: the events that refuse them, in words for an operator."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from actors.ports import StoredMessage
from actors.shard.dead_letters import refused_input
from engine.follower.decide.executions import Unmatched
from engine.follower.order_history import exec_id_of
from engine.journal.events.shard import InputsRefused
from engine.messages.blocks import CorrectionsReported, ExecutionsReported
from engine.values.order_ids import format_order_id

REFUSED_EACH_MAX = 16
"""Up to so many executions of one report are refused one by one, more of them in one event."""


def refused_executions(
    shard: int, message: StoredMessage, unmatched: Unmatched, rows: NDArray[np.int64]
) -> Iterator[InputsRefused]:
    """Make the events that refuse some rows of a report on a follower shard's orders."""
    report, why = unmatched.report, unmatched.why
    if len(rows) > REFUSED_EACH_MAX:
        first, last = [_exec_id(report, row) for row in rows[[0, -1]].tolist()]
        orders = [_order_id(shard, report, row) for row in rows[[0, -1]].tolist()]
        text = (
            f"{len(rows)} executions {first} to {last} of orders {orders[0]} to {orders[1]}: {why}"
        )
        yield refused_input(
            message.sequence, message.subject, unmatched.reason, text, f"{first} to {last}"
        )
        return
    for row in rows.tolist():
        name = _exec_id(report, row)
        text = f"execution {name} of order {_order_id(shard, report, row)}: {why}"
        yield refused_input(message.sequence, message.subject, unmatched.reason, text, name)


def _exec_id(report: ExecutionsReported | CorrectionsReported, row: int) -> str:
    return exec_id_of(report.prefix, int(report.numbers[row]))


def _order_id(shard: int, report: ExecutionsReported | CorrectionsReported, row: int) -> str:
    high = report.key.high(shard)
    return format_order_id(high, report.key.low(int(report.subscriptions[row])))
