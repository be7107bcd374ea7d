"""What a gateway says of orders that it is done with and the broker will not speak of: withdrawn ones are reported as the broker would
have reported them, parked ones are dead letters.
"""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import numpy as np

from actors.dead_letters import DeadLetter
from engine.blocks import ExecutionsReported, encode_block
from engine.events.gateway import OrdersParked, OrdersWithdrawn
from engine.identity import cause_high, format_order_id

LETTER_ORDERS_MAX = 1000
UNKNOWN_PLACEMENT = "unknown_placement"


class ParkedOrders(DeadLetter, frozen=True):
    """A dead letter about orders, which it names."""

    order_ids: list[str]


class Report(NamedTuple):
    """One message for a stream."""

    subject: str
    data: bytes
    message_id: str


def reports(broker: str, gateway: int, event: OrdersWithdrawn | OrdersParked) -> Iterator[Report]:
    """Make what is published of an event in the journal of a broker's gateway, by its shard."""
    if isinstance(event, OrdersWithdrawn):
        yield _withdrawn(broker, event)
    else:
        yield from _parked(broker, gateway, event)


def _withdrawn(broker: str, event: OrdersWithdrawn) -> Report:
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


def _parked(broker: str, gateway: int, event: OrdersParked) -> Iterator[Report]:
    """Name every parked order, so many in a letter."""
    high = cause_high(event.follower_shard, event.cause_kind, event.creator_shard, event.cause_number)
    tail = event.leg << 20 | event.attempt
    ids = [format_order_id(high, each << 32 | tail) for each in event.subscriptions.tolist()]
    for start in range(0, len(ids), LETTER_ORDERS_MAX):
        named = ids[start : start + LETTER_ORDERS_MAX]
        letter = ParkedOrders(
            subject=f"broker.{broker}.orders",
            sequence=event.sequence,
            reason=UNKNOWN_PLACEMENT,
            error=f"{len(named)} orders were sent to broker {broker} and not answered: expected them there or nowhere; look them up and"
            f" report executions, or canceled, on executions.{broker}.{event.follower_shard}",
            excerpt=named[0],
            order_ids=named,
        )
        subject = f"deadletter.gateway.{gateway}"
        yield Report(subject, msgspec.json.encode(letter), f"{subject}/{UNKNOWN_PLACEMENT}/{named[0]}")
