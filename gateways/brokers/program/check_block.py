"""The check of a whole block: every section, and the accounts that its orders are for."""

from typing import Any

from engine.messages.blocks import (
    AccountsRegistered,
    CancelsSubmitted,
    FramesSent,
    OrdersLookedUp,
    OrdersSubmitted,
    SendingRound,
)
from gateways.brokers.ledger.accounts import AccountNumbers, AccountNumbersOfBlock
from gateways.brokers.program.check import (
    check_cancels,
    check_frames,
    check_look_up,
    check_orders,
    check_size,
)


def check_block(sections: list[Any], accounts: AccountNumbers, *, answers_look_ups: bool) -> str:
    """Return why a block is refused, empty when all of it can be taken. `sections` begin with the
    GatewayEpoch.
    """
    refusal = check_size(sections)
    numbers = AccountNumbersOfBlock(accounts)
    for place, section in enumerate(sections[1:]):
        if refusal:
            break
        if isinstance(section, AccountsRegistered):
            refusal = numbers.refusal(section)
        elif isinstance(section, OrdersSubmitted):
            refusal = check_orders(section) or numbers.unknown_refusal(section)
        elif isinstance(section, CancelsSubmitted):
            refusal = check_cancels(section)
        elif isinstance(section, OrdersLookedUp):
            refusal = check_look_up(section) if answers_look_ups else _NO_LOOK_UPS
        elif isinstance(section, FramesSent):
            refusal = check_frames(section)
        elif isinstance(section, SendingRound):
            refusal = "block: expected a SendingRound second or not at all" if place else ""
        else:
            refusal = (
                f"block: expected accounts, orders and cancels, found {type(section).__name__}"
            )
    return refusal


_NO_LOOK_UPS = (
    "block: expected accounts, orders and cancels, found "
    "OrdersLookedUp; this broker does not look orders up"
)
