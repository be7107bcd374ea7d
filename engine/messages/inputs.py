"""Inputs of a creator shard: fills and marks as brokers report them."""

from typing import NamedTuple

import msgspec

from engine.values.order_status import ExecType


class FillInput(msgspec.Struct, frozen=True):
    """A creator's fill as it came in. `order_quantity` is 0 and `position_after` None if the fill
    does not name them. Units: 1e-8, micros, ns.

    A trade cancel or correct names the fill that it is about in `exec_ref_id`. A cancel may have
    neither quantity nor price.
    """

    broker: str
    creator_id: str
    exec_id: str
    symbol: str
    side: int
    quantity: int
    price: int
    transact_time: int
    sequence: int
    order_id: str = ""
    order_quantity: int = 0
    position_after: int | None = None
    exec_type: int = ExecType.TRADE
    exec_ref_id: str = ""


class MarkInput(NamedTuple):
    """A price of a symbol at a time."""

    symbol: str
    price: int
    time: int
