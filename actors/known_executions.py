"""Looking executions up in the journal: the slow path for reports on orders that are not open any more (P8).

Only executions without a number, or of orders that this shard never had, come here; it reads the shard's
journal from the beginning.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.journal_writer import persist
from actors.ports import Journal
from engine.blocks import ExecutionsReported
from engine.chain import Chain
from engine.events import ExecutionsApplied
from engine.frame import ShardKey, decode_frame


def applied_in(events: Iterable[Any], broker: str, report: ExecutionsReported) -> NDArray[np.bool_]:
    """Say which rows of a report some events have applied."""
    applied: set[tuple[int, int]] = set()
    for event in events:
        if isinstance(event, ExecutionsApplied) and _order(event.broker, event) == _order(broker, report):
            applied.update(zip(event.subscriptions.tolist(), event.numbers.tolist(), strict=True))
    rows = zip(report.subscriptions.tolist(), report.numbers.tolist(), strict=True)
    return np.fromiter((row in applied for row in rows), np.bool_, len(report.subscriptions))


def _order(broker: str, report: ExecutionsReported | ExecutionsApplied) -> tuple[object, ...]:
    return (
        broker,
        report.prefix,
        report.cause_kind,
        report.creator_shard,
        report.cause_number,
        report.leg,
        report.attempt,
    )


async def were_applied(
    journal: Journal, key: ShardKey, broker: str, reports: Sequence[ExecutionsReported]
) -> list[NDArray[np.bool_]]:
    """Say which rows of each report the shard's journal has applied, in frames that count. Cost: reads the whole
    journal of the shard, once for all reports.
    """
    known = [np.zeros(len(report.subscriptions), np.bool_) for report in reports]
    of_order: dict[tuple[object, ...], list[int]] = {}
    for index, report in enumerate(reports):
        of_order.setdefault(_order(broker, report), []).append(index)
    chain, after = Chain(key), 0
    while True:
        start = after
        messages = await persist(f"frames of {key}", lambda: journal.read(key, after_sequence=start))  # noqa: B023
        if not messages:
            return known
        for message in messages:
            after = message.sequence
            if chain.accept(message.data) is None:
                continue
            for event in decode_frame(message.data)[1]:
                if isinstance(event, ExecutionsApplied):
                    for index in of_order.get(_order(event.broker, event), ()):
                        known[index] |= applied_in([event], broker, reports[index])
            # The shard's neighbours in the process have a heart to beat.
            await asyncio.sleep(0)
        if all(rows.all() for rows in known):
            return known
