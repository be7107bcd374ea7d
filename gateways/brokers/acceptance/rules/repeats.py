"""Rules about order ids that come again, for programs that refuse them (P1)."""

from typing import Any

import numpy as np
from msgspec.structs import replace

from engine.messages.blocks import OrdersSubmitted
from gateways.brokers.acceptance.bench import Bench, expect_accepted
from gateways.brokers.acceptance.rules.rule import Rule

_CLASSES = ("refused",)


def some_of(orders: OrdersSubmitted, rows: list[int], **changes: Any) -> OrdersSubmitted:
    """Return a section of the same cause with other rows."""
    subscriptions = np.array(rows, np.int64)
    quantities = np.full(len(rows), int(orders.quantities[0]), np.int64)
    chosen = {"subscriptions": subscriptions, "accounts": subscriptions, "quantities": quantities}
    return replace(orders, **chosen | changes)


async def _again(bench: Bench) -> None:
    orders = bench.orders(range(6))
    await bench.place(orders)
    for _ in range(2):
        expect_accepted(await bench.ask(orders), 0, 6)
    await bench.wait_ended(orders)
    expect_accepted(await bench.ask(orders), 0, 6)


async def _some_again(bench: Bench) -> None:
    orders = bench.orders([1, 3, 5])
    await bench.place(orders)
    more = some_of(orders, [0, 1, 2, 3, 9])
    expect_accepted(await bench.ask(more), 3, 2)
    await bench.wait_ended(orders, more)


async def _within_a_block(bench: Bench) -> None:
    orders = bench.orders([7, 8])
    more = some_of(orders, [8, 9])
    expect_accepted(await bench.ask(orders, more), 3, 1)
    await bench.wait_ended(orders, more)


async def _other_orders(bench: Bench) -> None:
    orders = bench.orders([1, 2])
    others = [
        some_of(orders, [1, 2], key=orders.key._replace(attempt=1)),
        some_of(orders, [1, 2], key=orders.key._replace(leg=1)),
        some_of(orders, [1, 2], follower_shard=1),
        some_of(orders, [1, 2], key=orders.key._replace(cause_kind=1)),
    ]
    expect_accepted(await bench.ask(orders, *others), 10)
    await bench.wait_ended(orders, *others)


async def _no_refusal(bench: Bench) -> None:
    old, new = bench.orders(range(3)), bench.orders(range(3))
    await bench.place(old)
    expect_accepted(await bench.ask(old, new), 3, 3)
    await bench.wait_ended(old, new)


async def _after_kill(bench: Bench) -> None:
    orders = bench.orders(range(0, 40, 3))
    await bench.place(orders)
    await bench.kill_and_restart()
    expect_accepted(await bench.ask(orders), 0, 14)
    more = some_of(orders, list(range(40)))
    expect_accepted(await bench.ask(more), 26, 14)
    await bench.wait_ended(orders, more)


RULES = (
    Rule("repeats", "orders that come again are counted as repeated", _again, _CLASSES),
    Rule("repeats", "of a block with old and new ids, the new are accepted", _some_again, _CLASSES),
    Rule("repeats", "an id that a block holds twice counts once", _within_a_block, _CLASSES),
    Rule(
        "repeats",
        "another attempt, leg, shard or cause kind is another order",
        _other_orders,
        _CLASSES,
    ),
    Rule("repeats", "a block is not refused for an order that was taken", _no_refusal, _CLASSES),
    Rule(
        "repeats",
        "ids are known after the program was killed",
        _after_kill,
        _CLASSES,
        needs_restart=True,
    ),
)
