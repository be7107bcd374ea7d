"""Order blocks as JSON messages, and their answers as blocks."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.errors import TransientError
from engine.columns.section_types import SectionError, column_of
from engine.messages.blocks import (
    AccountsRegistered,
    BlockAnswered,
    CancelsSubmitted,
    ExecutionsStated,
    FramesSent,
    GatewayEpoch,
    HistoryStated,
    OrdersKnown,
    OrdersLookedUp,
    OrdersSubmitted,
    SendingRound,
    decode_block,
    encode_block,
)
from engine.values.order_ids import OrderKey
from gateways.json import public
from gateways.json.broker import JsonBroker
from gateways.json.orders import ORDERS_MAX, ROWS_MAX

KEY = OrderKey(0, 2, 12, 1, 0)
EPOCH = GatewayEpoch(3, 1_767_643_200_000_000_000, "c-1")


def order_id(subscription: int, shard: int = 7) -> str:
    return str(KEY.order_id(shard, subscription))


def orders(count: int = 2, **changes: Any) -> OrdersSubmitted:
    subscriptions = np.arange(count)
    fields: dict[str, Any] = {
        "follower_shard": 7,
        "frame": 17,
        "key": KEY,
        "symbol": "JPM",
        "side": -1,
        "price": 57_260_000,
        "limit_price": 0,
        "expire_time": 0,
        "subscriptions": subscriptions,
        "accounts": subscriptions + 10,
        "quantities": np.full(count, 250_000_000),
    }
    return OrdersSubmitted(**fields | changes)


class Asked:
    """A broker that answers from a list, and keeps what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.messages: list[dict[str, Any]] = []

    async def send(self, data: bytes) -> bytes:
        self.messages.append(json.loads(data))
        answer = self._answers.pop(0) if self._answers else {}
        if isinstance(answer, bytes):
            return answer
        return json.dumps({"accepted": 0, "repeated": 0, "code": 0} | answer).encode()

    async def submit(self, *sections: Any) -> list[Any]:
        return decode_block(await JsonBroker(self.send).submit(encode_block(EPOCH, *sections)))


async def test_orders_become_one_message() -> None:
    asked = Asked({"accepted": 1, "repeated": 1})
    frames = FramesSent(column_of(7), column_of(17), column_of(-2), column_of(88))
    (answer,) = await asked.submit(orders(), frames)
    assert (answer.accepted, answer.repeated, answer.refusal, answer.code) == (1, 1, "", 0)
    (message,) = asked.messages
    assert message == {
        "epoch": 3,
        "sending_time": "2026-01-05T20:00:00Z",
        "cluster": "c-1",
        "orders": [
            {
                "order_id": order_id(number),
                "follower_shard": 7,
                "account": f"7-{number + 10}",
                "symbol": "JPM",
                "side": "sell",
                "order_qty": "2.5",
                "ord_type": "market",
                "time_in_force": "gtc",
                "mark_px": "57.26",
            }
            for number in range(2)
        ],
        "frames": [
            {
                "follower_shard": 7,
                "frame": 17,
                "frame_hash": "fffffffffffffffe",
                "frame_sequence": 88,
            }
        ],
    }


async def test_a_limit_and_an_expiry_are_written_exactly() -> None:
    asked = Asked({"accepted": 1})
    terms = {"limit_price": 57_546_301, "expire_time": 1_767_643_200_000_000_001, "side": 1}
    await asked.submit(orders(1, **terms))
    (order,) = asked.messages[0]["orders"]
    assert (order["side"], order["ord_type"], order["price"]) == ("buy", "limit", "57.546301")
    assert order["time_in_force"] == "gtd"
    assert order["expire_time"] == "2026-01-05T20:00:00.000000001Z"


async def test_what_is_too_much_for_a_message_goes_in_further_ones_and_orders_go_last() -> None:
    count = 2 * ROWS_MAX + 1
    same = np.ones(count, np.int64)
    cancels = CancelsSubmitted(7, same, same, same, np.arange(count), same, same)
    accounts = AccountsRegistered(7, 5, [f"a-{number}" for number in range(ROWS_MAX + 1)])
    asked = Asked({}, {}, {"accepted": 2})
    (answer,) = await asked.submit(accounts, cancels, orders())
    assert answer.accepted == 2
    assert [len(each.get("accounts", ())) for each in asked.messages] == [ROWS_MAX, 1, 0]
    assert [len(each["cancels"]) for each in asked.messages] == [ROWS_MAX, ROWS_MAX, 1]
    assert [len(each.get("orders", ())) for each in asked.messages] == [0, 0, 2]
    assert asked.messages[1]["accounts"] == [
        {"account": f"7-{5 + ROWS_MAX}", "account_id": f"a-{ROWS_MAX}"}
    ]
    assert len({each for message in asked.messages for each in message["cancels"]}) == count
    assert {each["epoch"] for each in asked.messages} == {3}


async def test_after_a_refusal_nothing_more_of_a_block_is_sent() -> None:
    accounts = AccountsRegistered(7, 0, ["a"] * (ROWS_MAX + 1))
    asked = Asked({"code": 2, "refusal": "epoch: expected at least 4, found 3"})
    (answer,) = await asked.submit(accounts, orders())
    assert (answer.code, answer.refusal) == (2, "epoch: expected at least 4, found 3")
    assert len(asked.messages) == 1
    assert "orders" not in asked.messages[0]


async def test_look_ups_are_answered_section_by_section() -> None:
    asked = Asked({"known": [order_id(900)]}, {"known": [order_id(1001), order_id(5, shard=9)]})
    sections = [
        OrdersLookedUp(7, KEY, np.arange(ROWS_MAX + 2)),
        OrdersLookedUp(8, KEY, column_of(1)),
        OrdersLookedUp(9, KEY, column_of(5)),
    ]
    first, *known = await asked.submit(SendingRound(4), *sections)
    assert isinstance(first, BlockAnswered)
    assert all(isinstance(each, OrdersKnown) for each in known)
    assert [(each.follower_shard, each.key) for each in known] == [(7, KEY), (8, KEY), (9, KEY)]
    assert [each.subscriptions.tolist() for each in known] == [[900, 1001], [], [5]]
    assert [each["round"] for each in asked.messages] == [4, 4]
    assert [len(each["look_ups"]) for each in asked.messages] == [ROWS_MAX, 4]


HISTORY: dict[str, Any] = {
    "ledger": "acme-1",
    "confirmed_sequence": 12,
    "frames": [
        {"follower_shard": shard, "frame": 17, "frame_hash": mark, "frame_sequence": 88}
        for shard, mark in ((9, "fffffffffffffffe"), (7, "00000000000000ff"))
    ],
    "executions": [{"follower_shard": 7, "prefix": "x-", "last_number": 5, "confirmed_number": 4}],
}


async def test_a_stated_history_becomes_its_sections() -> None:
    _, history, executions = await Asked({"history": HISTORY}).submit()
    assert isinstance(history, HistoryStated)
    assert (history.ledger, history.confirmed_sequence) == ("acme-1", 12)
    assert [column.tolist() for column in history.columns] == [
        [7, 9],
        [17, 17],
        [255, -2],
        [88, 88],
    ]
    assert isinstance(executions, ExecutionsStated)
    assert executions.__struct_fields__ == (
        "follower_shard",
        "prefix",
        "last_number",
        "confirmed_number",
    )
    assert (executions.prefix, executions.last_number, executions.confirmed_number) == ("x-", 5, 4)


async def test_a_history_counts_in_the_answer_to_an_introduction_only() -> None:
    sections = await Asked({"accepted": 2, "history": HISTORY}).submit(orders())
    assert len(sections) == 1


def answer(**fields: Any) -> bytes:
    usual = {"accepted": 2, "repeated": 0, "code": 0} | fields
    return json.dumps({name: each for name, each in usual.items() if each is not ...}).encode()


def history(**fields: Any) -> bytes:
    return answer(history=HISTORY | fields)


FRAME = {"follower_shard": 7, "frame": 1, "frame_hash": "0" * 16, "frame_sequence": 1}

WRONG_ANSWERS = [
    (b"", "answer: expected JSON, found 0 bytes"),
    (b"ok", "answer: expected JSON, found 2 bytes"),
    (b"\xff\xfe{}", "answer: expected JSON, found 4 bytes"),
    (b"LSB1\x00\x00", "answer: expected JSON, found 6 bytes"),
    (answer()[:-4], "answer: expected JSON, found"),
    (b"[]", "answer: Expected `object`, got `array`"),
    (b"null", "answer: Expected `object`, got `null`"),
    (b'{"z": ' + b"[" * 100_000, "answer: expected flat JSON, found it nested too deeply"),
    (b" " * (8 << 20) + answer(), "answer: expected at most 8388608 bytes, found 83886"),
    (answer(accepted=...), "answer: Object missing required field `accepted`"),
    (answer(code=...), "answer: Object missing required field `code`"),
    (answer(accepted="2"), "answer: Expected `int`, got `str` - at `$.accepted`"),
    (answer(accepted=2.0), "answer: Expected `int`, got `float` - at `$.accepted`"),
    (answer(accepted=None), "answer: Expected `int`, got `null` - at `$.accepted`"),
    (answer(accepted=True), "answer: Expected `int`, got `bool` - at `$.accepted`"),
    (answer(accepted=-1), "accepted: expected 0 to 9223372036854775807, found -1"),
    (answer(repeated=1 << 64), "repeated: expected 0 to 9223372036854775807, found 18446744"),
    (answer(code=1 << 80), "code: expected 0 to 9223372036854775807, found 12089258"),
    (answer(code=2), "refusal: expected a text with code 2, found ''"),
    (answer(refusal="no"), "refusal: expected none with code 0, found 'no'"),
    (answer(refusal=7), "answer: Expected `str`, got `int` - at `$.refusal`"),
    (b'{"accepted": 2, "repeated": 0, "code": 1, "refusal": "\\ud800"}', "answer: expected JSON"),
    (answer(known=7), "answer: Expected `array | null`, got `int` - at `$.known`"),
    (history(ledger="x" * 65), "ledger: expected at most 64 printable characters, found"),
    (history(frames=[FRAME, FRAME]), "frames: expected each follower_shard once, found more"),
    (
        history(frames=[FRAME | {"follower_shard": 1 << 14}]),
        "frames: follower_shard: expected 0 to 16383, found 16384",
    ),
    (
        history(frames=[FRAME | {"frame_hash": "-1"}]),
        "frame_hash: expected 16 hexadecimal digits as they came, found '-1'",
    ),
    (history(frames=[FRAME | {"frame": 1 << 63}]), "frame: expected 0 to 9223372036854775807"),
    (history(frames=None), "answer: Expected `array`, got `null` - at `$.history.frames`"),
    (
        history(executions=[{"follower_shard": 1}]),
        "answer: Object missing required field `prefix` - at `$.history.executions[0]`",
    ),
]


@pytest.mark.parametrize(("data", "text"), WRONG_ANSWERS, ids=lambda value: str(value)[:40])
async def test_a_wrong_answer_is_told_with_what_was_expected_and_found(
    data: bytes, text: str
) -> None:
    with pytest.raises(SectionError) as found:
        await Asked(data).submit(orders())
    assert str(found.value).startswith(text)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "known: expected the known ones of 1 order ids, found none"),
        ({"known": [order_id(2)]}, "known: expected only order ids that were looked up, found "),
        ({"known": ["x"]}, "known: expected only order ids that were looked up, found 'x'"),
    ],
    ids=["missing", "another", "no_id"],
)
async def test_a_wrong_answer_to_a_look_up_is_none(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(SectionError) as found:
        await Asked(fields).submit(OrdersLookedUp(7, KEY, column_of(1)))
    assert str(found.value).startswith(text)


async def test_a_long_refusal_is_cut() -> None:
    (answer,) = await Asked({"code": 1, "refusal": "é" * 100_000}).submit(orders())
    assert answer.refusal == "é" * 1000


async def test_an_error_of_the_connection_is_passed_on() -> None:
    async def send(data: bytes) -> bytes:
        raise TransientError("nobody listens")

    with pytest.raises(TransientError):
        await JsonBroker(send).submit(encode_block(EPOCH))


def test_a_message_holds_as_many_orders_as_the_page_says() -> None:
    page = Path(public.__file__).parents[1] / "protocol" / "broker-programs.md"
    text = " ".join(page.read_text().split())
    assert f"at most {ORDERS_MAX} orders, and at most {ROWS_MAX:,} accounts" in text
