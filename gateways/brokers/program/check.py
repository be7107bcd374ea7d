"""Checks of a block's sections. Each returns why the block is refused, empty when it is not.

A block is taken whole or refused whole: the program applies nothing of it before it has checked all
of it. The checks are pure.
"""

from collections.abc import Iterable
from operator import attrgetter
from typing import Any

from engine.columns.reductions import any_of, is_rising, least, most
from engine.columns.section_types import Column
from engine.messages.blocks import CancelsSubmitted, FramesSent, OrdersLookedUp, OrdersSubmitted
from engine.values.ids import DEDICATED_SHARDS_MAX, SHARDS_MAX
from engine.values.order_ids import ATTEMPT_MAX, LEG_MAX
from engine.values.units import MONEY_MAX, PRICE_MAX, QUANTITY_MAX, QUANTITY_ONE, TIME_MAX_NS

CAUSE_KIND_MAX = 2
CAUSE_NUMBER_MAX = (1 << 36) - 1
SUBSCRIPTION_MAX = (1 << 32) - 1
BLOCK_ORDERS_MAX = 1 << 20
"""Orders in one block. Gateways send at most about 65,536."""
_SYMBOL_BYTES_MAX = 64

_SHARD_RANGE = ("follower_shard", 0, DEDICATED_SHARDS_MAX - 1)
_KEY_RANGES = (
    ("key.cause_kind", 0, CAUSE_KIND_MAX),
    ("key.creator_shard", 0, SHARDS_MAX - 1),
    ("key.cause_number", 0, CAUSE_NUMBER_MAX),
    ("key.leg", 0, LEG_MAX),
    ("key.attempt", 0, ATTEMPT_MAX),
)
_COORDINATE_RANGES = (_SHARD_RANGE, *_KEY_RANGES)
_ORDER_RANGES = (
    _SHARD_RANGE,
    ("frame", 0, (1 << 63) - 1),
    *_KEY_RANGES,
    ("price", 1, PRICE_MAX),
    ("limit_price", 0, PRICE_MAX),
    ("expire_time", 0, TIME_MAX_NS),
)
_CANCEL_RANGES = (
    ("cause_kinds", CAUSE_KIND_MAX),
    ("creator_shards", SHARDS_MAX - 1),
    ("cause_numbers", CAUSE_NUMBER_MAX),
    ("subscriptions", SUBSCRIPTION_MAX),
    ("legs", LEG_MAX),
    ("attempts", ATTEMPT_MAX),
)


def check_size(sections: list[Any]) -> str:
    """Check that one turn can hold a block's orders."""
    count = sum(
        len(section.subscriptions) for section in sections if isinstance(section, OrdersSubmitted)
    )
    if count > BLOCK_ORDERS_MAX:
        return (
            f"block: expected at most {BLOCK_ORDERS_MAX} orders, found {count}; send several blocks"
        )
    return ""


def check_orders(orders: OrdersSubmitted) -> str:
    """Check everything of an orders section but its accounts."""
    beyond = _beyond_range(orders, _ORDER_RANGES)
    if beyond:
        return f"orders: {beyond}"
    if orders.side not in (1, -1):
        return f"orders: side: expected 1 or -1, found {orders.side}"
    if not 1 <= len(orders.symbol.encode()) <= _SYMBOL_BYTES_MAX:
        return (
            f"orders: symbol: expected 1 to {_SYMBOL_BYTES_MAX} bytes, found {orders.symbol[:70]!r}"
        )
    count = len(orders.subscriptions)
    if len(orders.accounts) != count or len(orders.quantities) != count:
        return (
            f"orders: expected {count} accounts and quantities, found "
            f"{len(orders.accounts)} and {len(orders.quantities)}"
        )
    return _check_order_columns(orders) if count else ""


def _beyond_range(section: Any, ranges: Iterable[tuple[str, int, int]]) -> str:
    """Describe the first field that is out of range; empty when none is."""
    for field, low, high in ranges:
        value = attrgetter(field)(section)
        if not low <= value <= high:
            return f"{field.removeprefix('key.')}: expected {low} to {high}, found {value}"
    return ""


def _beyond_subscriptions(ascending: Column) -> str:
    """Describe subscriptions that are out of range; empty when none is."""
    if len(ascending) and not (ascending[0] >= 0 and ascending[-1] <= SUBSCRIPTION_MAX):
        return (
            f"subscriptions: expected 0 to {SUBSCRIPTION_MAX}, found "
            f"{ascending[0]} to {ascending[-1]}"
        )
    return ""


def _check_order_columns(orders: OrdersSubmitted) -> str:
    subscriptions, quantities = orders.subscriptions, orders.quantities
    if any_of(subscriptions[1:] < subscriptions[:-1]):
        return "orders: subscriptions: expected them to ascend, found one that falls"
    beyond = _beyond_subscriptions(subscriptions)
    if beyond:
        return f"orders: {beyond}"
    low, high = least(quantities), most(quantities)
    if low <= 0 or high > QUANTITY_MAX:
        return f"orders: quantities: expected 1 to {QUANTITY_MAX}, found {low} to {high}"
    if high * max(orders.price, orders.limit_price) // QUANTITY_ONE > MONEY_MAX:
        return (
            f"orders: notional: expected at most {MONEY_MAX} micros, found more "
            f"at quantity {high} and price {orders.price}"
        )
    return ""


def check_cancels(cancels: CancelsSubmitted) -> str:
    """Check a cancels section."""
    beyond = _beyond_range(cancels, (_SHARD_RANGE,))
    if beyond:
        return f"cancels: {beyond}"
    count = len(cancels.subscriptions)
    for field, high in _CANCEL_RANGES:
        column: Column = getattr(cancels, field)
        if len(column) != count:
            return f"cancels: {field}: expected {count} rows, found {len(column)}"
        if count and not (least(column) >= 0 and most(column) <= high):
            return (
                f"cancels: {field}: expected 0 to {high}, found {least(column)} to {most(column)}"
            )
    return ""


def check_frames(sent: FramesSent) -> str:
    """Check a section that names follower frames."""
    shards = sent.follower_shards
    columns = (sent.frames, sent.frame_hashes, sent.frame_sequences)
    if any(len(column) != len(shards) for column in columns):
        return f"frames: expected {len(shards)} of each column, found {list(map(len, columns))}"
    if not is_rising(shards):
        return "frames: follower_shards: expected them to rise, found one that does not"
    if len(shards) and not (shards[0] >= 0 and shards[-1] < DEDICATED_SHARDS_MAX):
        return (
            f"frames: follower_shards: expected 0 to {DEDICATED_SHARDS_MAX - 1}, found "
            f"{shards[0]} to {shards[-1]}"
        )
    return ""


def check_look_up(asked: OrdersLookedUp) -> str:
    """Check a look-up section."""
    subscriptions = asked.subscriptions
    if not is_rising(subscriptions):
        return "look-up: subscriptions: expected them to ascend, found one that does not"
    beyond = _beyond_range(asked, _COORDINATE_RANGES) or _beyond_subscriptions(subscriptions)
    return f"look-up: {beyond}" if beyond else ""
