"""Rules about messages in JSON: what is wrong is refused whole, and the program goes on."""

import json
from collections.abc import Callable, Iterable
from typing import Any

from engine.messages.blocks import AccountsRegistered
from gateways.brokers.acceptance.bench import (
    ACCOUNTS,
    Bench,
    account_id,
    expect_accepted,
    expect_refused,
)
from gateways.brokers.acceptance.broken import Broken
from gateways.brokers.acceptance.rules.rule import Rule
from gateways.json.orders import ORDERS_MAX, ROWS_MAX, encode_message, messages_of

_DEPTH = 100_000
_LARGE_BYTES = 4 << 20


def _message(bench: Bench, rows: Iterable[int]) -> dict[str, Any]:
    (message,) = messages_of(bench.block(bench.orders(rows)))
    found: dict[str, Any] = json.loads(encode_message(message))
    return found


async def _refuse(bench: Bench, name: str, data: bytes) -> None:
    try:
        expect_refused(await bench.ask_raw(data))
        await bench.place(bench.orders([1]))
    except Broken as broken:
        raise Broken(broken.expected, f"{broken.found} (for {name})") from None


async def _junk(bench: Bench) -> None:
    whole = json.dumps(_message(bench, [1])).encode()
    wrong = {
        "an empty message": b"",
        "half a message": whole[: len(whole) // 2],
        "an array": b"[" + whole + b"]",
        "a number": b"1",
        "bytes that are no UTF-8": whole.replace(b"acceptance", b"\xff\xfe"),
        "zeros": bytes(64),
        f"arrays {_DEPTH} deep": b"[" * _DEPTH,
        f"{_LARGE_BYTES} zeros": bytes(_LARGE_BYTES),
    }
    for name, data in wrong.items():
        await _refuse(bench, name, data)


def _spoiled(text: str, *names: str, spoil: Callable[[dict[str, Any], str], None]) -> Rule:
    """Make the rule that a message is refused whole for the second of its orders."""

    async def check(bench: Bench) -> None:
        for name in names:
            message = _message(bench, [1, 2, 3])
            spoil(message["orders"][1], name)
            await _refuse(bench, name, json.dumps(message).encode())

    return Rule("json", f"a message is refused whole for {text}", check)


def _leave_out(order: dict[str, Any], name: str) -> None:
    del order[name]


def _misname(order: dict[str, Any], name: str) -> None:
    order[name] = "many"


def _nest(order: dict[str, Any], name: str) -> None:
    order[name] = [order[name]]


async def _unknown_fields(bench: Bench) -> None:
    orders = bench.orders(range(3))
    (written,) = messages_of(bench.block(orders))
    message = json.loads(encode_message(written)) | {"of_a_newer_version": {"a": [1]}}
    for order in message["orders"]:
        order["of_a_newer_version"] = None
    expect_accepted(await bench.ask_raw(json.dumps(message).encode(), [orders]), 3)
    await bench.wait_ended(orders)


async def _large(bench: Bench) -> None:
    first = ACCOUNTS + bench.epoch % 1_000_000
    names = [account_id(0, number) for number in range(first, first + ROWS_MAX)]
    accounts = AccountsRegistered(0, first, names)
    old, new = bench.orders(range(ORDERS_MAX)), bench.orders(range(ORDERS_MAX))
    await bench.place(old)
    cancels = [bench.cancels(old)] * (ROWS_MAX // ORDERS_MAX)
    expect_accepted(await bench.ask(accounts, *cancels, new), ORDERS_MAX)
    await bench.wait_ended(old, new)


_NEEDED = ("order_id", "follower_shard", "account", "symbol", "side", "order_qty", "ord_type")

RULES = (
    Rule("json", "what is no JSON object is refused, and the program goes on", _junk),
    _spoiled("an order with a field missing", *_NEEDED, spoil=_leave_out),
    _spoiled("an order with a field that cannot be", "side", "order_qty", "price", spoil=_misname),
    _spoiled("an order with a field of another type", "order_id", "order_qty", spoil=_nest),
    Rule("json", "fields that are unknown are ignored", _unknown_fields),
    Rule(
        "json",
        f"{ORDERS_MAX} orders, {ROWS_MAX} accounts and {ROWS_MAX} cancels are taken together",
        _large,
    ),
)
