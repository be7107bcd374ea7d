"""Trade cancels and corrections that an operator or a test asks the paper broker for.

Each request reads the ledger from the beginning to find its trade: requests are rare, and memory
holds nothing of closed orders.
"""

from typing import Any

import msgspec
import numpy as np
from msgspec import Raw

from engine.columns.section_codec import decode_section
from engine.columns.section_types import names_of
from engine.follower.order_history import OrderHistory, PastExecution, find_corrected
from engine.messages.blocks import (
    CorrectionsReported,
    Report,
    decode_block,
    exec_id_of,
)
from engine.values.order_status import ExecType
from engine.values.refusals import Refused
from engine.values.units import MONEY_MAX, QUANTITY_ONE
from gateways.brokers.ledger.ledger import Readable, walk_frames
from gateways.brokers.ledger.records import MESSAGE_TAG, OrdersReopened, OrdersTaken, walk_records
from gateways.brokers.ledger.seen import key_of
from gateways.json.fields import (
    ABSENT,
    MONEY,
    PRICE,
    QUANTITY,
    MessageError,
    checked_id,
    decoded,
    number,
    number_or,
    shown,
)

_TYPES = {"trade_cancel": ExecType.TRADE_CANCEL, "trade_correct": ExecType.TRADE_CORRECT}


class CorrectionAsked(msgspec.Struct, frozen=True):
    """A request. With `is_reopened` the order works again what the correction takes back. Units:
    1e-8, micros.
    """

    exec_type: ExecType
    exec_ref_id: str
    quantity: int = 0
    price: int = 0
    fee: int = 0
    is_reopened: bool = False


class _Json(msgspec.Struct, forbid_unknown_fields=True):
    exec_type: str
    exec_ref_id: str
    last_qty: Raw = ABSENT
    last_px: Raw = ABSENT
    fee: Raw = ABSENT
    reopen: bool = False


_decoder = msgspec.json.Decoder(_Json)


class TradedOrder(msgspec.Struct, frozen=True):
    """A trade's order: one row of its record, and all of its executions."""

    taken: OrdersTaken
    row: int
    history: OrderHistory

    @property
    def subscription(self) -> int:
        """The order's subscription."""
        return int(self.taken.subscriptions[self.row])


def decode_correction(data: bytes) -> CorrectionAsked:
    """Read a request on `broker.<broker>.corrections`. Raises: MessageError."""
    found = decoded(_decoder.decode, data, "correction")
    exec_type = _TYPES.get(found.exec_type)
    if exec_type is None:
        raise MessageError(
            "exec_type",
            f"exec_type: expected trade_cancel or trade_correct, found {shown(found.exec_type)}",
        )
    is_correct = exec_type is ExecType.TRADE_CORRECT
    asked = CorrectionAsked(
        exec_type,
        checked_id(found.exec_ref_id, "exec_ref_id"),
        number(found.last_qty, QUANTITY, "last_qty") if is_correct else 0,
        number(found.last_px, PRICE, "last_px") if is_correct else 0,
        number_or(found.fee, MONEY, "fee", 0) if is_correct else 0,
        found.reopen,
    )
    if asked.quantity * asked.price > MONEY_MAX * QUANTITY_ONE:
        raise MessageError("number", "last_qty, last_px: expected a notional in range, found more")
    return asked


def find_traded(ledger: Readable, exec_id: str) -> TradedOrder | None:
    """Return the order of an execution, with its history, None when no order has it. Cost: reads
    the whole ledger. Raises: LedgerError.
    """
    of_key: dict[int, list[OrdersTaken]] = {}
    reports: dict[int, list[Report]] = {}
    wanted: tuple[int, int] | None = None
    for frame in walk_frames(ledger):
        for record in walk_records(frame.offset, frame.payload):
            if record.tag == OrdersTaken.TAG:
                taken = decode_section(OrdersTaken, record.body)
                of_key.setdefault(key_of(taken), []).append(taken)
            elif record.tag == MESSAGE_TAG:
                for section in decode_block(record.body):
                    reports.setdefault(key_of(section), []).append(section)
                    row = _row_of(section, exec_id)
                    if row is not None:
                        wanted = key_of(section), int(section.subscriptions[row])
    if wanted is None:
        return None
    key, subscription = wanted
    history = OrderHistory()
    for section in reports[key]:
        history.executions += _past(section, subscription)
    for taken in of_key[key]:
        rows = np.flatnonzero(taken.subscriptions == subscription)
        if len(rows):
            history.quantity = int(taken.quantities[rows[0]])
            return TradedOrder(taken, int(rows[0]), history)
    return None


def _row_of(section: Report, exec_id: str) -> int | None:
    digits = exec_id.removeprefix(section.prefix)
    if len(digits) == len(exec_id) or not digits.isdecimal():
        return None
    rows = np.flatnonzero(section.numbers == int(digits))
    return int(rows[0]) if len(rows) else None


def _past(section: Report, subscription: int) -> list[PastExecution]:
    found = []
    for row in np.flatnonzero(section.subscriptions == subscription).tolist():
        reference = ""
        if isinstance(section, CorrectionsReported):
            reference = exec_id_of(section.reference_prefix, int(section.reference_numbers[row]))
        columns = (section.exec_types, section.quantities, section.prices, section.fees)
        exec_type, quantity, price, fee = (int(column[row]) for column in columns)
        name = exec_id_of(section.prefix, int(section.numbers[row]))
        found.append(PastExecution(name, exec_type, quantity, price, fee, True, reference))
    return found


def reopened_order(taken: OrdersTaken, row: int, quantity: int, now_ns: int) -> OrdersReopened:
    """Make the record of one order that works again."""
    values: dict[str, Any] = {name: getattr(taken, name) for name in names_of(OrdersTaken)}
    rows = slice(row, row + 1)
    columns = {"subscriptions": taken.subscriptions[rows], "accounts": taken.accounts[rows]}
    return OrdersReopened(
        **{**values, **columns, "quantities": np.array([quantity]), "taken_time": now_ns}
    )


def corrected_by(asked: CorrectionAsked, order: TradedOrder) -> PastExecution | Refused:
    """Return the trade to correct, or why its order does not allow the correction."""
    trade = find_corrected(order.history, asked.exec_ref_id)
    if isinstance(trade, PastExecution):
        filled = order.history.filled - trade.quantity + asked.quantity
        if filled > order.history.quantity:
            return Refused(
                "overfill", "last_qty: expected at most the order's quantity filled, found more"
            )
    return trade
