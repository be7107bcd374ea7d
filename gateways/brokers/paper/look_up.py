"""Look-ups: which orders were ever taken, and the rounds that make the answer final. And answers
lost on purpose.
"""

import random
from typing import Any

import numpy as np

from engine.messages.blocks import OrdersKnown, OrdersLookedUp, SendingRound
from engine.values.units import MICROS
from gateways.brokers.ledger.seen import SeenOrders, order_key
from gateways.brokers.paper.check import check_coordinates
from gateways.brokers.paper.settings import FillSettings


def round_of(sections: list[Any]) -> int:
    """Name the round that a block was sent under; 0 when it names none."""
    return sections[1].number if len(sections) > 1 and isinstance(sections[1], SendingRound) else 0


def check_round(sections: list[Any], highest: int) -> str:
    """Check that a block of the highest epoch is not of a round that a look-up ended."""
    number = round_of(sections)
    if number < highest:
        return (
            f"round: expected {highest} or higher, found {number}; its orders were looked up since"
        )
    return "" if number < 1 << 62 else f"block: round: expected less than 2**62, found {number}"


def check_look_up(asked: OrdersLookedUp, settings: FillSettings) -> str:
    """Check that a look-up can be answered."""
    if settings.order_ids == "unchecked":
        return (
            "block: expected accounts, orders and cancels, found "
            "OrdersLookedUp; this broker does not look orders up"
        )
    subscriptions = asked.subscriptions
    if (subscriptions[1:] <= subscriptions[:-1]).any():
        return "look-up: subscriptions: expected them to ascend, found one that does not"
    return check_coordinates(asked)


def look_up(asked: OrdersLookedUp, seen: SeenOrders) -> OrdersKnown:
    """Say which orders were taken."""
    coordinates = (
        asked.follower_shard,
        asked.cause_kind,
        asked.creator_shard,
        asked.cause_number,
        asked.leg,
        asked.attempt,
    )
    known = asked.subscriptions[:0]
    if len(asked.subscriptions):
        marks = seen.repeated(order_key(*coordinates), asked.subscriptions)
        known = asked.subscriptions[marks] if marks is not None else known
    return OrdersKnown(*coordinates, np.ascontiguousarray(known))


class LostAnswers:
    """Chooses the answers that are never sent, the same ones for the same seed."""

    def __init__(self, settings: FillSettings) -> None:
        self._ratio_micros = settings.lost_answers_ratio_micros
        self._random = random.Random(settings.lost_answers_seed)

    def loses_next(self) -> bool:
        """Say whether the next answer is lost."""
        return self._ratio_micros > 0 and self._random.randrange(MICROS) < self._ratio_micros
