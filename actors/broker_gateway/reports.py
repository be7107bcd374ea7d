"""Reports of orders that the gateway is done with and that the broker will not report.

Revoked orders are reported as the broker would have reported them. Unresolved orders become dead
letters.
"""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import numpy as np

from actors.shard.dead_letters import DeadLetter
from engine.journal.events.gateway import OrdersRevoked, OrdersUnresolved
from engine.messages.blocks import ExecutionsReported, encode_block
from engine.values.order_ids import format_order_id

LETTER_ORDERS_MAX = 1000
UNKNOWN_PLACEMENT = "unknown_placement"


class UnresolvedOrders(DeadLetter, frozen=True):
    """A dead letter about orders, with their ids."""

    order_ids: list[str]


class GatewayReport(NamedTuple):
    """One message for a stream. A letter has a message id. An execution has none, and counts once
    by its number.
    """

    subject: str
    data: bytes
    message_id: str = ""


def reports(
    broker: str, gateway: int, event: OrdersRevoked | OrdersUnresolved
) -> Iterator[GatewayReport]:
    """Make the messages about an event of a broker's gateway; `gateway` is its shard."""
    if isinstance(event, OrdersRevoked):
        yield _revoked(broker, event)
    else:
        yield from _unresolved(broker, gateway, event)


def _revoked(broker: str, event: OrdersRevoked) -> GatewayReport:
    count = len(event.subscriptions)
    zeros = np.zeros(count, np.int64)
    prefix = f"{broker}-withdrawn-{event.follower_shard}-"
    report = ExecutionsReported(
        event.follower_shard,
        prefix,
        event.key,
        event.transact_time,
        np.arange(event.first_number, event.first_number + count, dtype=np.int64),
        event.subscriptions,
        np.full(count, event.exec_type, np.int64),
        zeros,
        zeros,
        zeros,
    )
    subject = f"executions.{broker}.{event.follower_shard}"
    return GatewayReport(subject, encode_block(report))


def _unresolved(broker: str, gateway: int, event: OrdersUnresolved) -> Iterator[GatewayReport]:
    """Make letters that name every unresolved order, `LETTER_ORDERS_MAX` to a letter."""
    high = event.key.high(event.follower_shard)
    ids = [format_order_id(high, event.key.low(each)) for each in event.subscriptions.tolist()]
    for start in range(0, len(ids), LETTER_ORDERS_MAX):
        named = ids[start : start + LETTER_ORDERS_MAX]
        letter = UnresolvedOrders(
            subject=f"broker.{broker}.orders",
            sequence=event.sequence,
            reason=UNKNOWN_PLACEMENT,
            error=f"{len(named)} orders were sent to broker {broker} and not answered: "
            "expected them there or nowhere; look them up and"
            f" report executions, or canceled, on executions.{broker}.{event.follower_shard}",
            excerpt=named[0],
            order_ids=named,
        )
        yield letter_of(gateway, letter, letter.excerpt)


def letter_of(gateway: int, letter: UnresolvedOrders, about: str) -> GatewayReport:
    """Address a dead letter. `about` tells it from others of its gateway and its reason."""
    subject = f"deadletter.gateway.{gateway}"
    message_id = f"{subject}/{letter.reason}/{about}"
    return GatewayReport(subject, msgspec.json.encode(letter), message_id)
