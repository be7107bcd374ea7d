"""Blocks as a gateway would send them, and what a broker reported, by plain dictionaries."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from msgspec.structs import replace

from engine.messages.blocks import (
    AccountsRegistered,
    BlockAnswered,
    CancelsSubmitted,
    ExecutionsReported,
    GatewayEpoch,
    OrdersSubmitted,
    decode_block,
    encode_block,
)
from engine.values import order_ids
from engine.values.order_status import ExecType
from gateways.brokers.ledger.ledger import Ledger
from gateways.brokers.paper.settings import FillSettings
from gateways.brokers.paper.venue import PaperVenue
from gateways.brokers.program.core import ProgramCore

SHARES_10 = 10 * 10**8
MARK = 190_000_000
ACCOUNTS = 64
EVENT_TIME = 10**18

OrderKey = tuple[int, int, int, int, int, int, int]
"""Shard, cause kind, creator shard, cause number, leg, attempt, subscription."""


def header(epoch: int = 1, event_time: int = EVENT_TIME) -> GatewayEpoch:
    return GatewayEpoch(epoch, event_time)


def accounts(shard: int = 0, first: int = 0, count: int = ACCOUNTS) -> AccountsRegistered:
    return AccountsRegistered(
        shard, first, [f"account-{shard}-{number}" for number in range(first, first + count)]
    )


def orders(subscriptions: Iterable[int], **changes: Any) -> OrdersSubmitted:
    rows = np.array(list(subscriptions), np.int64)
    plain = OrdersSubmitted(
        follower_shard=0,
        frame=7,
        key=order_ids.OrderKey(0, 0, 1, 0, 0),
        symbol="AAPL",
        side=1,
        price=MARK,
        limit_price=MARK + 1_000_000,
        expire_time=0,
        subscriptions=rows,
        accounts=rows % ACCOUNTS,
        quantities=np.full(len(rows), SHARES_10, np.int64),
    )
    return changed(plain, **changes)


def changed(orders: OrdersSubmitted, **changes: Any) -> OrdersSubmitted:
    """Return orders with other fields; the fields of their key are named as if they stood beside
    it.
    """
    key = {name: changes.pop(name) for name in order_ids.OrderKey._fields if name in changes}
    return replace(orders, key=orders.key._replace(**key), **changes)


def cancels(
    subscriptions: Sequence[int], cause_number: int = 1, shard: int = 0
) -> CancelsSubmitted:
    zeros = np.zeros(len(subscriptions), np.int64)
    causes = np.full(len(subscriptions), cause_number, np.int64)
    return CancelsSubmitted(
        shard, zeros, zeros, causes, np.array(subscriptions, np.int64), zeros, zeros
    )


def block(*sections: Any, epoch: int = 1, event_time: int = EVENT_TIME) -> bytes:
    return encode_block(header(epoch, event_time), *sections)


def answer(data: bytes) -> BlockAnswered:
    (section,) = decode_block(data)
    assert isinstance(section, BlockAnswered)
    return section


def paper_core(
    ledger: Ledger, settings: FillSettings | None = None, *, ledger_id: str = "memory"
) -> ProgramCore:
    """The broker program with the paper broker's venue, on a ledger."""
    settings = settings or FillSettings()
    return ProgramCore(settings, ledger, PaperVenue(settings), new_ledger_id=ledger_id)


class Clock:
    """Wall time that tests move."""

    def __init__(self, now_ns: int = EVENT_TIME) -> None:
        self.now = now_ns

    def now_ns(self) -> int:
        return self.now


class Reported:
    """Receives executions messages as JetStream would: once per message id."""

    def __init__(self) -> None:
        self.messages: dict[str, tuple[str, bytes]] = {}
        self.calls = 0

    def __call__(self, subject: str, data: bytes, *, message_id: str) -> None:
        self.calls += 1
        known = self.messages.setdefault(message_id, (subject, data))
        assert known == (subject, data), f"{message_id} came again with other bytes"

    def sections(self) -> list[ExecutionsReported]:
        return [section for _, data in self.messages.values() for section in decode_block(data)]

    def executions(self) -> dict[str, tuple[OrderKey, ExecType, int, int, int]]:
        """By execution id: order, type, quantity, price, fee."""
        return executions_of(self.sections())

    def filled(self) -> dict[OrderKey, int]:
        return filled(self.executions())


def executions_of(
    sections: Iterable[ExecutionsReported],
) -> dict[str, tuple[OrderKey, ExecType, int, int, int]]:
    found: dict[str, tuple[OrderKey, ExecType, int, int, int]] = {}
    for section in sections:
        for row, number in enumerate(section.numbers.tolist()):
            order = (*coordinates(section), int(section.subscriptions[row]))
            value = (
                order,
                ExecType(int(section.exec_types[row])),
                int(section.quantities[row]),
                int(section.prices[row]),
                int(section.fees[row]),
            )
            assert found.setdefault(f"{section.prefix}{number}", value) == value
    return found


def filled(executions: dict[str, tuple[OrderKey, ExecType, int, int, int]]) -> dict[OrderKey, int]:
    total: Counter[OrderKey] = Counter()
    for order, exec_type, quantity, _, _ in executions.values():
        if exec_type is ExecType.TRADE:
            total[order] += quantity
    return dict(total)


def coordinates(
    section: OrdersSubmitted | ExecutionsReported,
) -> tuple[int, int, int, int, int, int]:
    return (section.follower_shard, *section.key)
