"""Order blocks as JSON, for a broker program with the option `format = "json"`.

A block becomes messages on the same subject. Each is one object: the gateway that sends it, and
lists of what it brings. The orders of a block stand in its last message, so a block whose orders
were taken was taken whole. What stands in earlier messages changes nothing when it comes again.

    block --messages_of--> messages --broker--> answers --answer_of--> block
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from engine.columns.sections import UnknownSection
from engine.messages.blocks import (
    AccountsRegistered,
    CancelsSubmitted,
    FramesSent,
    GatewayEpoch,
    OrdersLookedUp,
    OrdersSubmitted,
    SendingRound,
    walk_block,
)
from engine.values.order_ids import OrderKey, cause_high, format_order_id
from engine.values.units import format_micros, format_quantity, format_time

ORDERS_MAX = 100
"""Most orders in one message. The gateway makes its blocks as small."""
ROWS_MAX = 1000
"""Most accounts, cancels or order ids looked up in one message."""
_SIDES = {1: "buy", -1: "sell"}
_HASH_MASK = (1 << 64) - 1


class AccountJson(msgspec.Struct, frozen=True):
    """An account and the name that orders give it."""

    account: str
    account_id: str


class OrderJson(msgspec.Struct, frozen=True, kw_only=True):
    """A new order. A market order has no `price`, one that never expires no `expire_time`."""

    order_id: str
    follower_shard: int
    account: str
    symbol: str
    side: str
    order_qty: str
    ord_type: str
    price: str | msgspec.UnsetType = msgspec.UNSET
    time_in_force: str
    expire_time: str | msgspec.UnsetType = msgspec.UNSET
    mark_px: str


class FrameJson(msgspec.Struct, frozen=True):
    """The highest follower frame of a shard: `frame_hash` is 16 hexadecimal digits."""

    follower_shard: int
    frame: int
    frame_hash: str
    frame_sequence: int


class MessageJson(msgspec.Struct, omit_defaults=True):
    """One message to a broker. What is absent is empty; `round` is absent where the broker answers
    no look-ups.
    """

    epoch: int | None = None
    sending_time: str | None = None
    cluster: str = ""
    round: int | None = None
    accounts: list[AccountJson] = []
    orders: list[OrderJson] = []
    cancels: list[str] = []
    look_ups: list[str] = []
    frames: list[FrameJson] = []

    @property
    def is_introduction(self) -> bool:
        """True if it brings nothing but the gateway that sends it."""
        return not (self.accounts or self.orders or self.cancels or self.look_ups)


_encode = msgspec.json.Encoder().encode


def messages_of(block: bytes) -> list[MessageJson]:
    """Turn a block into messages. Raises: SectionError when it cannot be read."""
    whole = MessageJson()
    for section in walk_block(block):
        _add(whole, section)
    assert len(whole.orders) <= ORDERS_MAX, f"{len(whole.orders)} orders in one block"
    longest = max(len(whole.accounts), len(whole.cancels), len(whole.look_ups))
    starts = range(0, max(longest, 1), ROWS_MAX)
    messages = [_part(whole, slice(start, start + ROWS_MAX)) for start in starts]
    messages[-1].orders, messages[-1].frames = whole.orders, whole.frames
    return messages


def encode_message(message: MessageJson) -> bytes:
    """Encode one message."""
    return _encode(message)


def ids_looked_up(section: OrdersLookedUp) -> list[str]:
    """Return the ids of the orders that a section asks after, row by row."""
    return _ids(section.follower_shard, section.key, section.subscriptions.tolist())


def _part(whole: MessageJson, rows: slice) -> MessageJson:
    return MessageJson(
        epoch=whole.epoch,
        sending_time=whole.sending_time,
        cluster=whole.cluster,
        round=whole.round,
        accounts=whole.accounts[rows],
        cancels=whole.cancels[rows],
        look_ups=whole.look_ups[rows],
    )


def _add(message: MessageJson, section: Any) -> None:
    match section:
        case GatewayEpoch():
            message.epoch, message.cluster = section.epoch, section.cluster
            message.sending_time = format_time(section.event_time)
        case SendingRound():
            message.round = section.number
        case AccountsRegistered():
            message.accounts += [
                AccountJson(account_name(section.follower_shard, number), account_id)
                for number, account_id in enumerate(section.ids, section.first)
            ]
        case OrdersSubmitted():
            message.orders += _orders(section)
        case CancelsSubmitted():
            message.cancels += _cancels(section)
        case OrdersLookedUp():
            message.look_ups += ids_looked_up(section)
        case FramesSent():
            message.frames += _frames(section)
        case _:
            assert isinstance(section, UnknownSection), f"{section!r:.80} is not for a broker"


def account_name(shard: int, number: int) -> str:
    """Return the name of an account of a follower shard, as orders give it."""
    return f"{shard}-{number}"


def _orders(section: OrdersSubmitted) -> Iterator[OrderJson]:
    """Yield a section's orders. What they share is formatted once."""
    shard = section.follower_shard
    side = _SIDES.get(section.side, str(section.side))
    mark_px = format_micros(section.price)
    limit, expiry = section.limit_price, section.expire_time
    price = format_micros(limit) if limit else msgspec.UNSET
    expire_time = format_time(expiry) if expiry else msgspec.UNSET
    subscriptions = section.subscriptions.tolist()
    for order_id, account, quantity in zip(
        _ids(shard, section.key, subscriptions),
        section.accounts.tolist(),
        section.quantities.tolist(),
        strict=True,
    ):
        yield OrderJson(
            order_id=order_id,
            follower_shard=shard,
            account=account_name(shard, account),
            symbol=section.symbol,
            side=side,
            order_qty=format_quantity(quantity),
            ord_type="limit" if limit else "market",
            price=price,
            time_in_force="gtd" if expiry else "gtc",
            expire_time=expire_time,
            mark_px=mark_px,
        )


def _cancels(section: CancelsSubmitted) -> Iterator[str]:
    """Yield the ids of the orders to cancel."""
    columns = (
        section.cause_kinds,
        section.creator_shards,
        section.cause_numbers,
        section.subscriptions,
        section.legs,
        section.attempts,
    )
    for kind, creator_shard, cause, subscription, leg, attempt in zip(
        *(column.tolist() for column in columns), strict=True
    ):
        high = cause_high(section.follower_shard, kind, creator_shard, cause)
        yield format_order_id(high, subscription << 32 | leg << 20 | attempt)


def _frames(section: FramesSent) -> Iterator[FrameJson]:
    columns = (section.follower_shards, section.frames, section.frame_hashes)
    sequences = section.frame_sequences.tolist()
    for shard, frame, mark, sequence in zip(
        *(column.tolist() for column in columns), sequences, strict=True
    ):
        yield FrameJson(shard, frame, f"{mark & _HASH_MASK:016x}", sequence)


def _ids(shard: int, key: OrderKey, subscriptions: list[int]) -> list[str]:
    high = key.high(shard)
    return [format_order_id(high, key.low(each)) for each in subscriptions]
