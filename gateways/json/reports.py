"""The JSON that brokers send: fills, marks, executions. The protocol's pages describe each field.

Anything wrong raises `MessageError`: a message is taken whole or not at all. Unknown fields are
ignored, because brokers may send more than Lockstep reads.
"""

from collections.abc import Iterator

import msgspec
from msgspec import Raw

from engine.values import units
from engine.values.order_status import CORRECTIONS, ExecType
from gateways.json.fields import (
    ABSENT,
    MONEY,
    POSITION,
    PRICE,
    QUANTITY,
    TEXT_CHARACTERS_MAX,
    MessageError,
    agree,
    checked_id,
    checked_symbol,
    element_of,
    number,
    number_or,
    order_id_of,
    short_text,
    shown,
    subject_ids,
    time,
    walk_each,
)

ORDER_ID_CHARACTERS_MAX = 64
_SIDES = {"buy": 1, "sell": -1}
_EXEC_TYPES = {exec_type.name.lower(): exec_type for exec_type in ExecType}


class Fill(msgspec.Struct, frozen=True):
    """An execution in a creator's own account. Units: quantities 1e-8, `last_px` micros. `side` is
    +1 buy, -1 sell.
    """

    broker: str
    creator_id: str
    exec_id: str
    symbol: str
    side: int
    last_qty: int
    last_px: int
    transact_time_ns: int
    order_id: str = ""
    order_qty: int = 0
    """0 when the fill names no order."""
    position_after: int | None = None
    exec_type: ExecType = ExecType.TRADE
    exec_ref_id: str = ""
    """The fill that a trade cancel or correct means; empty for a trade."""


class Mark(msgspec.Struct, frozen=True):
    """A price of an instrument. Units: `px` micros."""

    symbol: str
    px: int
    time_ns: int


class Execution(msgspec.Struct, frozen=True):
    """A broker's report on one copy order; a trade cancel may leave out what it cancels.

    Units: quantities 1e-8; `last_px` and `fee` micros, a negative fee is a rebate.
    """

    broker: str
    shard: int
    exec_id: str
    order_high: int
    order_low: int
    exec_type: ExecType
    last_qty: int
    last_px: int
    fee: int
    transact_time_ns: int
    text: str = ""
    exec_ref_id: str = ""
    """The execution that a trade cancel or correct means; empty for others."""
    leaves_qty: int = 0
    """0 when the broker does not say."""


class _FillJson(msgspec.Struct):
    exec_id: str
    symbol: str
    side: str
    transact_time: str
    last_qty: Raw = ABSENT
    last_px: Raw = ABSENT
    exec_type: str = "trade"
    exec_ref_id: str | None = None
    creator_id: str | None = None
    broker: str | None = None
    order_id: str | None = None
    order_qty: Raw = ABSENT
    position_after: Raw = ABSENT


class _MarkJson(msgspec.Struct):
    symbol: str
    px: Raw
    time: str


class _ExecutionJson(msgspec.Struct):
    exec_id: str
    order_id: str
    exec_type: str
    transact_time: str
    last_qty: Raw = ABSENT
    last_px: Raw = ABSENT
    fee: Raw = ABSENT
    text: str | None = None
    exec_ref_id: str | None = None
    leaves_qty: Raw = ABSENT


_decode_fill = msgspec.json.Decoder(_FillJson)
_decode_mark = msgspec.json.Decoder(_MarkJson)
_decode_execution = msgspec.json.Decoder(_ExecutionJson)


def decode_fills(subject: str, data: bytes) -> list[Fill]:
    """Read a message on `fills.<broker>.<creator_id>`: one fill or an array. Raises:
    MessageError.
    """
    return list(walk_fills(subject, data))


def walk_fills(subject: str, data: bytes) -> Iterator[Fill]:
    """Read the fills of a message one after the other. Raises: MessageError."""
    broker, creator_id = subject_ids(subject, "fills", 3)
    yield from walk_each(data, lambda element: _fill(broker, creator_id, element))


def decode_marks(subject: str, data: bytes) -> list[Mark]:
    """Read a message on `marks.<broker>`: an array, or one mark. Raises: MessageError."""
    return list(walk_marks(subject, data))


def walk_marks(subject: str, data: bytes) -> Iterator[Mark]:
    """Read the marks of a message one after the other. Raises: MessageError."""
    subject_ids(subject, "marks", 2)
    yield from walk_each(data, _mark)


def decode_executions(subject: str, data: bytes) -> list[Execution]:
    """Read a JSON message on `executions.<broker>.<shard>`: one execution or an array. Raises:
    MessageError.
    """
    return list(walk_executions(subject, data))


def walk_executions(subject: str, data: bytes) -> Iterator[Execution]:
    """Read the executions of a message one after the other. Raises: MessageError."""
    broker, shard = subject_ids(subject, "executions", 3)
    if not shard.isdecimal() or len(shard) > 5:
        raise MessageError(
            "subject",
            f"subject: expected executions.<broker>.<shard number>, found {shown(subject)}",
        )
    yield from walk_each(data, lambda element: _execution(broker, int(shard), element))


def _fill(broker: str, creator_id: str, element: Raw) -> Fill:
    found = element_of(_decode_fill, element)
    agree(found.creator_id, creator_id, "creator_id")
    agree(found.broker, broker, "broker")
    order_id = (
        ""
        if found.order_id is None
        else short_text(found.order_id, "order_id", ORDER_ID_CHARACTERS_MAX)
    )
    order_qty = number_or(found.order_qty, QUANTITY, "order_qty", 0)
    if order_qty and not order_id:
        raise MessageError("missing", "order_qty: expected an order_id with it, found none")
    exec_id, exec_type = checked_id(found.exec_id, "exec_id"), _fill_type(found.exec_type)
    last_qty, last_px = _moved(exec_type, found.last_qty, found.last_px)
    if 0 < order_qty < last_qty:
        raise MessageError(
            "number",
            "order_qty: expected the whole order's, at least last_qty "
            f"= {units.format_quantity(last_qty)}, "
            f"found {units.format_quantity(order_qty)}",
        )
    has_position = bytes(found.position_after) != b"null"
    position_after = (
        number(found.position_after, POSITION, "position_after") if has_position else None
    )
    return Fill(
        broker=broker,
        creator_id=creator_id,
        exec_id=exec_id,
        symbol=checked_symbol(found.symbol),
        side=_side(found.side),
        last_qty=last_qty,
        last_px=last_px,
        transact_time_ns=time(found.transact_time, "transact_time"),
        order_id=order_id,
        order_qty=order_qty,
        position_after=position_after,
        exec_type=exec_type,
        exec_ref_id=_reference(found.exec_ref_id, exec_id) if exec_type in CORRECTIONS else "",
    )


def _fill_type(text: str) -> ExecType:
    found = _EXEC_TYPES.get(text)
    if found is not ExecType.TRADE and found not in CORRECTIONS:
        raise MessageError(
            "exec_type",
            f"exec_type: expected trade, trade_cancel or trade_correct, found {shown(text)}",
        )
    return found


def _mark(element: Raw) -> Mark:
    found = element_of(_decode_mark, element)
    return Mark(
        checked_symbol(found.symbol), number(found.px, PRICE, "px"), time(found.time, "time")
    )


def _execution(broker: str, shard: int, element: Raw) -> Execution:
    found = element_of(_decode_execution, element)
    exec_type = _EXEC_TYPES.get(found.exec_type)
    if exec_type is None:
        raise MessageError(
            "exec_type",
            f"exec_type: expected one of {', '.join(_EXEC_TYPES)}, found {shown(found.exec_type)}",
        )
    order = order_id_of(found.order_id)
    if order.shard != shard:
        raise MessageError(
            "subject",
            f"order_id: expected shard {shard} as in the subject, "
            f"found {order.shard} in {found.order_id}",
        )
    exec_id = checked_id(found.exec_id, "exec_id")
    last_qty, last_px = _moved(exec_type, found.last_qty, found.last_px)
    is_correction = exec_type in CORRECTIONS
    return Execution(
        broker=broker,
        shard=shard,
        exec_id=exec_id,
        order_high=order.high,
        order_low=order.low,
        exec_type=exec_type,
        last_qty=last_qty,
        last_px=last_px,
        fee=number_or(found.fee, MONEY, "fee", 0),
        transact_time_ns=time(found.transact_time, "transact_time"),
        text="" if found.text is None else short_text(found.text, "text", TEXT_CHARACTERS_MAX),
        exec_ref_id=_reference(found.exec_ref_id, exec_id) if is_correction else "",
        leaves_qty=number_or(found.leaves_qty, POSITION, "leaves_qty", 0) if is_correction else 0,
    )


def _moved(exec_type: ExecType, last_qty: Raw, last_px: Raw) -> tuple[int, int]:
    """Read what an execution moved: needed of a trade and of a correction, and of a cancel as far
    as it says.
    """
    if exec_type is ExecType.TRADE_CANCEL:
        return number_or(last_qty, QUANTITY, "last_qty", 0), number_or(last_px, PRICE, "last_px", 0)
    if exec_type in (ExecType.TRADE, ExecType.TRADE_CORRECT):
        return number(last_qty, QUANTITY, "last_qty"), number(last_px, PRICE, "last_px")
    return 0, 0


def _reference(text: str | None, exec_id: str) -> str:
    if text is None:
        raise MessageError(
            "missing", "exec_ref_id: expected the execution that is meant, found none"
        )
    if checked_id(text, "exec_ref_id") == exec_id:
        raise MessageError(
            "id", f"exec_ref_id: expected another execution than its own, found {shown(text)}"
        )
    return text


def _side(text: str) -> int:
    side = _SIDES.get(text)
    if side is None:
        raise MessageError("side", f"side: expected buy or sell, found {shown(text)}")
    return side
