"""Looking executions up in the journal: the slow path for reports on orders that are not open any more (P8).

Only executions without a number, or of orders that this shard never had, come here; it reads the shard's
journal from the beginning.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.journal_writer import persist
from actors.ports import Journal
from engine.blocks import ExecutionsReported
from engine.events import ExecutionsApplied
from engine.frame import ShardKey, decode_frame


def applied_in(events: Iterable[Any], broker: str, report: ExecutionsReported) -> NDArray[np.bool_]:
    """Say which rows of a report some events have applied."""
    known = np.zeros(len(report.subscriptions), np.bool_)
    for event in events:
        if isinstance(event, ExecutionsApplied) and _is_same_order(event, broker, report):
            for index in range(len(known)):
                same = (event.subscriptions == report.subscriptions[index]) & (
                    event.numbers == report.numbers[index]
                )
                known[index] |= bool(same.any())
    return known


def _is_same_order(event: ExecutionsApplied, broker: str, report: ExecutionsReported) -> bool:
    ours = (
        event.broker,
        event.prefix,
        event.cause_kind,
        event.creator_shard,
        event.cause_number,
        event.leg,
        event.attempt,
    )
    theirs = (
        broker,
        report.prefix,
        report.cause_kind,
        report.creator_shard,
        report.cause_number,
        report.leg,
        report.attempt,
    )
    return ours == theirs


async def was_applied(
    journal: Journal, key: ShardKey, broker: str, report: ExecutionsReported
) -> NDArray[np.bool_]:
    """Say which rows of a report the shard's journal has applied. Cost: reads the whole journal of the
    shard.
    """
    known = np.zeros(len(report.subscriptions), np.bool_)
    after = 0
    while True:
        start = after
        messages = await persist(f"frames of {key}", lambda: journal.read(key, after_sequence=start))  # noqa: B023
        if not messages:
            return known
        for message in messages:
            after = message.sequence
            known |= applied_in(decode_frame(message.data)[1], broker, report)
        if known.all():
            return known
