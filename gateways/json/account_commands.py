"""The commands about an account: `open_account`, `resolve_order`."""

import msgspec
from msgspec import Raw

from engine.messages.commands import OpenAccount, ResolveOrder
from engine.values.order_status import ExecType
from gateways.json.command_json import BROKER_DEFAULT, CommandJson
from gateways.json.fields import (
    ABSENT,
    MONEY,
    PRICE,
    QUANTITY,
    TEXT_CHARACTERS_MAX,
    MessageError,
    checked_id,
    number,
    number_or,
    order_id_of,
    short_text,
    shown,
)

OUTCOMES = {"canceled": ExecType.CANCELED, "filled": ExecType.TRADE}
"""What may have become of an order, by the names used in JSON."""


class _OpenAccountJson(msgspec.Struct, tag="open_account", forbid_unknown_fields=True, gc=False):
    command_id: str
    account_id: str | None = None
    broker: str | None = None
    dedicated: bool | None = None


class _ResolveOrderJson(msgspec.Struct, tag="resolve_order", forbid_unknown_fields=True, gc=False):
    command_id: str
    order_id: str
    outcome: str
    account_id: str | None = None
    last_qty: Raw = ABSENT
    last_px: Raw = ABSENT
    fee: Raw = ABSENT
    text: str | None = None


def _open_account(found: _OpenAccountJson, command_id: str, account_id: str) -> OpenAccount:
    broker = checked_id(found.broker or BROKER_DEFAULT, "broker")
    return OpenAccount(command_id, account_id, broker, bool(found.dedicated))


def _resolve_order(found: _ResolveOrderJson, command_id: str, account_id: str) -> ResolveOrder:
    exec_type = OUTCOMES.get(found.outcome)
    if exec_type is None:
        raise MessageError(
            "outcome", f"outcome: expected {' or '.join(OUTCOMES)}, found {shown(found.outcome)}"
        )
    return ResolveOrder(
        command_id,
        account_id,
        order_id_of(found.order_id),
        exec_type,
        *_traded(found, exec_type),
        "" if found.text is None else short_text(found.text, "text", TEXT_CHARACTERS_MAX),
    )


def _traded(found: _ResolveOrderJson, exec_type: ExecType) -> tuple[int, int, int]:
    """Read quantity, price and fee of a trade. A cancel has none of them."""
    if exec_type is ExecType.TRADE:
        return (
            number(found.last_qty, QUANTITY, "last_qty"),
            number(found.last_px, PRICE, "last_px"),
            number_or(found.fee, MONEY, "fee", 0),
        )
    for name in ("last_qty", "last_px", "fee"):
        if getattr(found, name) is not ABSENT:
            raise MessageError(
                "outcome", f"outcome: expected filled with a {name}, found {found.outcome}"
            )
    return 0, 0, 0


OPEN_ACCOUNT = CommandJson(_OpenAccountJson, _open_account, ("account_id", "shard"))
RESOLVE_ORDER = CommandJson(_ResolveOrderJson, _resolve_order, ("order_id",))
