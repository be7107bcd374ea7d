"""Conversations: blocks that a gateway sends one after the other, and what each must be answered.
They show the refusals that depend on what came before.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from engine.columns.section_types import Section, column_of
from engine.messages.blocks import (
    AccountsRegistered,
    CancelsSubmitted,
    GatewayEpoch,
    OrdersLookedUp,
    OrdersSubmitted,
    RefusalCode,
    SendingRound,
    encode_block,
)
from engine.values.order_ids import OrderKey

_NOON = 1_767_614_400_000_000_000
_KEY = OrderKey(0, 0, 12, 0, 0)
_ACCOUNTS = AccountsRegistered(0, 0, ["ann", "bob", "cy"])
_ORDERS = OrdersSubmitted(
    0,
    17,
    _KEY,
    "JPM",
    1,
    57_260_000,
    57_546_300,
    0,
    column_of(0, 1, 9),
    column_of(0, 1, 2),
    column_of(250_000_000, 1_000_000_000, 100_000_000),
)


class Turn(NamedTuple):
    """One block, and its answer. `known` are the subscriptions of each OrdersKnown."""

    name: str
    data: bytes
    accepted: int = 0
    repeated: int = 0
    code: RefusalCode = RefusalCode.NONE
    known: tuple[list[int], ...] = ()


class Conversation(NamedTuple):
    """The turns with one program, on a new ledger."""

    name: str
    order_ids: str
    turns: tuple[Turn, ...]


def _block(*sections: Section, epoch: int = 3, cluster: str = "9f2c") -> bytes:
    return encode_block(GatewayEpoch(epoch, _NOON, cluster), *sections)


def _of(attempt: int, **changes: Any) -> OrdersSubmitted:
    """Orders that never came before, by their attempt."""
    return msgspec.structs.replace(_ORDERS, key=_KEY._replace(attempt=attempt), **changes)


def _refused_turns() -> Iterator[Turn]:
    content = RefusalCode.CONTENT
    both = _block(_ACCOUNTS, _ORDERS)
    cancels = CancelsSubmitted(0, *(column_of(each) for each in (0, 0, 12, 9, 0, 0)))
    yield Turn("an introduction", _block())
    yield Turn("accounts and their orders", both, accepted=3)
    yield Turn("the same block again", both, repeated=3)
    more = msgspec.structs.replace(
        _ORDERS,
        subscriptions=column_of(0, 7),
        accounts=column_of(0, 1),
        quantities=column_of(250_000_000, 1),
    )
    yield Turn("an order that came before, and a new one", _block(more), accepted=1, repeated=1)
    yield Turn("two sections", _block(_of(1), _of(2)), accepted=6)
    wrong = _of(3, quantities=column_of(1, 0, 1))
    yield Turn("a quantity of zero among right ones", _block(_of(4), wrong), code=content)
    yield Turn("its section without the wrong one", _block(_of(4)), accepted=3)
    unknown = _of(5, accounts=column_of(0, 1, 3))
    yield Turn("an account that is not registered", _block(unknown), code=content)
    uneven = _of(5, quantities=column_of(1, 1))
    yield Turn("columns of different lengths", _block(uneven), code=content)
    yield Turn("a side that is neither 1 nor -1", _block(_of(5, side=0)), code=content)
    again = AccountsRegistered(0, 2, ["dora"])
    yield Turn("a number given to a second account", _block(again), code=content)
    yield Turn("the accounts again", _block(_ACCOUNTS))
    yield Turn("a cancel", _block(cancels))
    yield Turn("the cancel again", _block(cancels))
    yield Turn("a lower epoch", _block(_of(5), epoch=2), code=RefusalCode.EPOCH)
    other = _block(_of(5), cluster="77aa")
    yield Turn("another cluster", other, code=RefusalCode.CLUSTER)
    yield Turn("a higher epoch that is refused", _block(wrong, epoch=9), code=content)
    yield Turn("a higher epoch", _block(_of(5), epoch=4), accepted=3)
    yield Turn("the epoch before", _block(_of(6)), code=RefusalCode.EPOCH)


def _looked_up_turns() -> Iterator[Turn]:
    asked = OrdersLookedUp(0, _KEY, column_of(0, 1, 5))
    yield Turn("an introduction", _block(SendingRound(0)))
    yield Turn("orders", _block(SendingRound(0), _ACCOUNTS, _ORDERS), accepted=3)
    look_up = _block(SendingRound(1), asked)
    yield Turn("a look-up begins a round", look_up, known=([0, 1],))
    yield Turn("the look-up again", look_up, known=([0, 1],))
    late = _block(SendingRound(0), _of(1))
    yield Turn("the round before", late, code=RefusalCode.ROUND)
    yield Turn("the present round", _block(SendingRound(1), _of(1)), accepted=3)
    two = _block(SendingRound(2), asked, OrdersLookedUp(0, _KEY._replace(leg=1), column_of(0)))
    yield Turn("two look-ups", two, known=([0, 1], []))
    yield Turn("a higher epoch begins with round 0", _block(SendingRound(0), epoch=4))


def conversations() -> tuple[Conversation, ...]:
    """Return all conversations."""
    return (
        Conversation("blocks", "refused", tuple(_refused_turns())),
        Conversation("rounds and look-ups", "looked_up", tuple(_looked_up_turns())),
    )


def shown(conversation: Conversation) -> dict[str, Any]:
    """Return a conversation as JSON has it."""
    return {
        "name": conversation.name,
        "order_ids": conversation.order_ids,
        "blocks": [
            {
                "name": turn.name,
                "hex": turn.data.hex(),
                "answer": {
                    "accepted": turn.accepted,
                    "repeated": turn.repeated,
                    "code": turn.code.value,
                    "known": list(turn.known),
                },
            }
            for turn in conversation.turns
        ],
    }
