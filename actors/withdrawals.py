"""Orders that a gateway withdrew: journaled, then reported as the broker would have reported them."""

from typing import NamedTuple

import numpy as np

from engine.blocks import ExecutionsReported, encode_block
from engine.events import OrdersWithdrawn


class Report(NamedTuple):
    """One message on the executions' stream."""

    subject: str
    data: bytes
    message_id: str


def withdrawn_report(broker: str, event: OrdersWithdrawn) -> Report:
    """Make the report of withdrawn orders."""
    count = len(event.subscriptions)
    zeros = np.zeros(count, np.int64)
    prefix = f"{broker}-withdrawn-{event.follower_shard}-"
    report = ExecutionsReported(
        event.follower_shard,
        prefix,
        event.cause_kind,
        event.creator_shard,
        event.cause_number,
        event.leg,
        event.attempt,
        event.transact_time,
        np.arange(event.first_number, event.first_number + count, dtype=np.int64),
        event.subscriptions,
        np.full(count, event.exec_type, np.int64),
        zeros,
        zeros,
        zeros,
    )
    subject = f"executions.{broker}.{event.follower_shard}"
    return Report(subject, encode_block(report), f"{prefix}{event.first_number}")
