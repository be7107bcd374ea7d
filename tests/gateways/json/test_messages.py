"""JSON messages: exact numbers, clear refusals, and no input that makes it slow, deep or long."""

import json
import time
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.messages.commands import ResolveOrder, ResumeCreator
from engine.values.order_ids import CauseKind, OrderId
from engine.values.order_status import ExecType
from engine.values.units import QUANTITY_MAX, format_micros, format_quantity
from gateways.json.public import (
    Execution,
    Fill,
    Follow,
    Mark,
    MessageError,
    OpenAccount,
    OpenCreator,
    Pause,
    Resume,
    Unfollow,
    decode_answer,
    decode_bulk,
    decode_command,
    decode_executions,
    decode_fills,
    decode_marks,
    encode_answers,
    encode_ok,
    encode_refused,
)

FILL = {
    "exec_id": "e1",
    "symbol": "BRK.B",
    "side": "buy",
    "last_qty": "100.25",
    "last_px": 57.26,
    "transact_time": "2014-02-19T20:00:00Z",
}
TIME_NS = 1392840000_000_000_000
ORDER_ID = OrderId(7, CauseKind.SIGNAL, 0, 12, 34, 1, 0)
EXECUTION = {
    "exec_id": "x1",
    "order_id": str(ORDER_ID),
    "exec_type": "trade",
    "last_qty": "3",
    "last_px": "10.5",
    "fee": "0.01",
    "transact_time": "2014-02-19T20:00:00Z",
}
FOLLOW = {"type": "follow", "command_id": "c1", "creator_id": "nancy", "cash": "10000"}


def fills(subject: str = "fills.acme.nancy", /, **changes: object) -> list[Fill]:
    return decode_fills(subject, json.dumps({**FILL, **changes}).encode())


def test_fill_is_read_exactly() -> None:
    assert fills() == [Fill("acme", "nancy", "e1", "BRK.B", 1, 10_025_000_000, 57_260_000, TIME_NS)]


def test_fill_may_name_its_order_and_the_position_after_it() -> None:
    (fill,) = fills(
        order_id="o-1", order_qty="400", position_after="-3.5", creator_id="nancy", broker="acme"
    )
    assert (fill.order_id, fill.order_qty, fill.position_after) == (
        "o-1",
        40_000_000_000,
        -350_000_000,
    )


def test_array_of_fills_is_taken_in_order_and_unknown_fields_are_ignored() -> None:
    data = json.dumps(
        [{**FILL, "exec_id": f"e{number}", "venue": {"deep": [1]}} for number in range(3)]
    ).encode()
    assert [fill.exec_id for fill in decode_fills("fills.acme.nancy", data)] == ["e0", "e1", "e2"]


@given(quantity=st.integers(1, QUANTITY_MAX), price=st.integers(1, 10**13), is_text=st.booleans())
def test_numbers_are_exact_as_text_and_as_numbers(quantity: int, price: int, is_text: bool) -> None:
    """P7: no float touches a number, however many digits it has."""
    shown = [format_quantity(quantity), format_micros(price)]
    last_qty, last_px = [json.dumps(text) if is_text else text for text in shown]
    data = (
        json.dumps({**FILL, "last_qty": "Q", "last_px": "P"})
        .replace('"Q"', last_qty)
        .replace('"P"', last_px)
    )
    (fill,) = decode_fills("fills.acme.nancy", data.encode())
    assert (fill.last_qty, fill.last_px) == (quantity, price)


@pytest.mark.parametrize(
    ("text", "quantity"),
    [("1e2", 10_000_000_000), ("2.50", 250_000_000), ("0.00000001", 1), ("1E-8", 1)],
)
def test_exponents_and_trailing_zeros_are_the_same_number(text: str, quantity: int) -> None:
    assert fills(last_qty=text)[0].last_qty == quantity


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"side": "hold"}, "side: expected buy or sell, found 'hold'"),
        ({"side": None}, "Expected `str`"),
        ({"last_qty": 0}, "above zero"),
        ({"last_qty": "-5"}, "above zero"),
        ({"last_qty": "0.000000001"}, "decimal places"),
        ({"last_qty": "1e999999999"}, "expected a decimal number"),
        ({"last_qty": "9" * 5000}, "expected a decimal number"),
        ({"last_qty": "1000000001"}, "at most 1000000000"),
        ({"last_px": "NaN"}, "expected a decimal number"),
        ({"last_px": " 1"}, "expected a decimal number"),
        ({"last_px": "1_0"}, "expected a decimal number"),
        ({"last_px": True}, "expected a decimal number"),
        ({"last_px": None}, "expected a decimal number"),
        ({"symbol": ""}, "symbol"),
        ({"symbol": "A" * 33}, "symbol"),
        ({"symbol": "A\nB"}, "symbol"),
        ({"exec_id": "a.b"}, "exec_id"),
        ({"exec_id": "a" * 65}, "exec_id"),
        ({"creator_id": "paul"}, "expected nancy as in the subject, found 'paul'"),
        ({"broker": "zenith"}, "expected acme as in the subject"),
        ({"transact_time": "2014-02-19T20:00:00"}, "zone"),
        ({"transact_time": "yesterday"}, "transact_time"),
        ({"transact_time": "2014-02-19T20:00:00." + "1" * 10_000 + "Z"}, "decimals"),
        ({"order_qty": "500"}, "expected an order_id"),
        ({"order_id": "o1", "order_qty": "100"}, "order_qty: expected the whole order's"),
    ],
)
def test_bad_fill_is_refused_with_what_was_expected(
    changes: dict[str, object], expected: str
) -> None:
    with pytest.raises(MessageError) as refused:
        fills("fills.acme.nancy", **changes)
    assert expected in str(refused.value)
    assert refused.value.reason


def test_missing_field_is_named() -> None:
    with pytest.raises(MessageError, match="exec_id"):
        decode_fills("fills.acme.nancy", b"{}")


@pytest.mark.parametrize(
    "subject",
    ["fills.acme", "fills.acme.nancy.x", "fills.a b.nancy", "marks.acme.nancy", "fills..x", ""],
)
def test_bad_subject_is_refused(subject: str) -> None:
    with pytest.raises(MessageError, match="subject"):
        fills(subject)


JUNK = [
    b"",
    b"null",
    b"7",
    b"[]",
    b"\xff" * 1_000_000,
    b"[" * 1_000_000,
    b"{" * 1_000_000,
    b'{"a":' * 200_000,
    b'{"venue":' + b"[" * 500_000,
    b"[" + b"1," * 500_000 + b"1]",
    b'{"exec_id":"' + b"a" * 1_000_000 + b'"}',
    b'{"exec_id":"\xff"}',
    json.dumps({**FILL, "last_qty": "1" + "0" * 1_000_000}).encode(),
    json.dumps({**FILL, "symbol": "x" * 1_000_000}).encode(),
]
DECODERS: list[Callable[[bytes], object]] = [
    lambda data: decode_fills("fills.acme.nancy", data),
    lambda data: decode_marks("marks.acme", data),
    lambda data: decode_executions("executions.acme.7", data),
    lambda data: decode_command("commands.account.a1", data),
    lambda data: decode_command("commands.creator.nancy", data),
    decode_bulk,
]


def refusals_of(decode: Callable[[bytes], object], data: bytes) -> list[str]:
    """Decode, and return the texts of the refusals: of the whole message, or of elements of
    commands.bulk.
    """
    try:
        result = decode(data)
    except MessageError as error:
        return [str(error)]
    assert isinstance(result, list | msgspec.Struct)
    return (
        [str(element) for element in result if isinstance(element, MessageError)]
        if isinstance(result, list)
        else []
    )


@pytest.mark.parametrize("data", JUNK, ids=range(len(JUNK)))
@pytest.mark.parametrize("decode", DECODERS, ids=range(len(DECODERS)))
def test_junk_is_refused_quickly_and_briefly(
    decode: Callable[[bytes], object], data: bytes
) -> None:
    started_s = time.perf_counter()
    refusals = refusals_of(decode, data)
    assert refusals
    assert all(len(text) <= 300 for text in refusals)
    assert time.perf_counter() - started_s < 3


@given(
    data=st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
            lambda inner: (
                st.lists(inner, max_size=4)
                | st.dictionaries(st.sampled_from([*FILL, *FOLLOW, "x"]), inner, max_size=8)
            ),
            max_leaves=20,
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_junk_raises_only_a_message_error(data: bytes) -> None:
    for decode in DECODERS:
        assert all(len(text) <= 300 for text in refusals_of(decode, data))


def test_marks_are_read() -> None:
    data = (
        b'[{"symbol":"A","px":"1.5","time":"2014-02-19T20:00:00Z"},'
        b'{"symbol":"B","px":2,"time":"2014-02-19T20:00:00.000000001Z"}]'
    )
    assert decode_marks("marks.acme", data) == [
        Mark("A", 1_500_000, TIME_NS),
        Mark("B", 2_000_000, TIME_NS + 1),
    ]


def executions(subject: str = "executions.acme.7", **changes: object) -> list[Execution]:
    return decode_executions(subject, json.dumps({**EXECUTION, **changes}).encode())


def test_bad_element_of_an_array_is_named_by_its_place() -> None:
    good = {"symbol": "JPM", "px": "1", "time": "2014-02-19T20:00:00Z"}
    with pytest.raises(MessageError, match="element 2: px: expected a number above zero"):
        decode_marks("marks.acme", json.dumps([good, good, {**good, "px": "0"}]).encode())


def test_execution_is_read() -> None:
    (found,) = executions(text="ok")
    assert found == Execution(
        "acme",
        7,
        "x1",
        ORDER_ID.high,
        ORDER_ID.low,
        ExecType.TRADE,
        300_000_000,
        10_500_000,
        10_000,
        TIME_NS,
        "ok",
    )


@pytest.mark.parametrize("exec_type", ["new", "canceled", "rejected", "expired"])
def test_a_report_other_than_a_trade_needs_no_quantity(exec_type: str) -> None:
    data = {
        name: value
        for name, value in EXECUTION.items()
        if name not in ("last_qty", "last_px", "fee")
    }
    (found,) = decode_executions(
        "executions.acme.7", json.dumps({**data, "exec_type": exec_type}).encode()
    )
    assert (found.exec_type.name.lower(), found.last_qty, found.last_px, found.fee) == (
        exec_type,
        0,
        0,
        0,
    )


@pytest.mark.parametrize(
    ("subject", "changes", "expected"),
    [
        ("executions.acme.8", {}, "expected shard 8"),
        ("executions.acme.x", {}, "shard number"),
        ("executions.acme.7", {"order_id": "short"}, "26 characters"),
        ("executions.acme.7", {"order_id": "U" * 26}, "26 characters"),
        ("executions.acme.7", {"order_id": "Z" * 26}, "128 bits"),
        ("executions.acme.7", {"exec_type": "fill"}, "exec_type: expected one of new"),
        ("executions.acme.7", {"last_qty": None}, "last_qty"),
        ("executions.acme.7", {"text": "x" * 201}, "text"),
    ],
)
def test_bad_execution_is_refused(subject: str, changes: dict[str, object], expected: str) -> None:
    with pytest.raises(MessageError) as refused:
        executions(subject, **changes)
    assert expected in str(refused.value)


def account_command(**changes: object) -> object:
    return decode_command("commands.account.a1", json.dumps({**FOLLOW, **changes}).encode())


def test_commands_are_read_with_their_defaults() -> None:
    assert account_command() == Follow("c1", "a1", "nancy", 10_000_000_000)
    assert account_command(
        mode="fixed_amount",
        amount="250",
        ratio="0.5",
        limits={"max_order_notional": 1000, "max_position_weight": "0.2", "allow_short": True},
    ) == Follow(
        "c1", "a1", "nancy", 10_000_000_000, 1, 500_000, 250_000_000, 1_000_000_000, 200_000, True
    )
    unfollow = {"type": "unfollow", "command_id": "c2", "creator_id": "nancy", "account_id": "a1"}
    assert decode_command("commands.account.a1", json.dumps(unfollow).encode()) == Unfollow(
        "c2", "a1", "nancy"
    )
    for name, expected in (("pause", Pause), ("resume", Resume)):
        asked = json.dumps({**unfollow, "type": name}).encode()
        assert decode_command("commands.account.a1", asked) == expected("c2", "a1", "nancy")
        assert decode_bulk(b"[" + asked + b"]") == [expected("c2", "a1", "nancy")]
    assert decode_command(
        "commands.account.a1", b'{"type":"open_account","command_id":"c3","dedicated":true}'
    ) == OpenAccount("c3", "a1", "paper", True)
    assert decode_command(
        "commands.creator.nancy",
        b'{"type":"open_creator","command_id":"c4","cash":1e6,"broker":"acme"}',
    ) == OpenCreator("c4", "nancy", 1_000_000_000_000, "acme")
    for action, is_replay in (("replay", True), ("void", False)):
        resume = {"type": "resume_creator", "command_id": "c5", "action": action}
        assert decode_command(
            "commands.creator.nancy", json.dumps(resume).encode()
        ) == ResumeCreator("c5", "nancy", is_replay)


RESOLVE = {
    "type": "resolve_order",
    "command_id": "c6",
    "order_id": str(ORDER_ID),
    "outcome": "filled",
    "last_qty": "2.5",
    "last_px": "57.26",
    "fee": "-0.01",
    "text": "the broker's terminal says so",
}


def resolve_order(**changes: object) -> object:
    fields = {name: value for name, value in {**RESOLVE, **changes}.items() if value is not None}
    return decode_command("commands.account.a1", json.dumps(fields).encode())


def test_an_operators_word_on_an_order_is_read_as_an_execution_is() -> None:
    assert resolve_order() == ResolveOrder(
        "c6",
        "a1",
        ORDER_ID,
        ExecType.TRADE,
        250_000_000,
        57_260_000,
        -10_000,
        "the broker's terminal says so",
    )
    nothing = dict.fromkeys(("last_qty", "last_px", "fee", "text"))
    assert resolve_order(outcome="canceled", **nothing) == ResolveOrder(
        "c6", "a1", ORDER_ID, ExecType.CANCELED
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"outcome": "lost"}, "outcome: expected canceled or filled, found 'lost'"),
        ({"outcome": "canceled"}, "outcome: expected filled with a last_qty, found canceled"),
        ({"order_id": "7"}, "order id: expected 26 characters"),
        ({"last_qty": None}, "last_qty: expected a decimal number, found 'null'"),
        ({"last_px": 0}, "last_px: expected"),
        ({"text": "x" * 201}, "text: expected at most 200 printable characters"),
        ({"price": 1}, "unknown field `price`"),
    ],
)
def test_a_bad_word_on_an_order_is_refused(changes: dict[str, object], expected: str) -> None:
    with pytest.raises(MessageError) as refused:
        resolve_order(**changes)
    assert expected in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"type": "buy"},
            "type: expected one of open_account, follow, unfollow, pause, resume, resolve_order, "
            "found 'buy'",
        ),
        ({"cash": 0}, "cash: expected a number above zero"),
        ({"cash": "-1"}, "cash: expected a number above zero"),
        ({"mode": "martingale"}, "mode: expected one of proportional"),
        ({"mode": "fixed_amount"}, "amount: expected a number above zero"),
        ({"ratio": 0}, "ratio"),
        ({"ratio": 1001}, "at most 1000"),
        ({"ratoi": 2}, "ratoi"),
        ({"limits": {"max_notional": 2}}, "max_notional"),
        ({"limits": {"max_order_notional": -2}}, "max_order_notional: expected zero or more"),
        (
            {"limits": {"max_position_weight": "-1"}},
            "max_position_weight: expected zero or more, found '-1'",
        ),
        ({"amount": "-1"}, "amount: expected zero or more, found -1"),
        (
            {"mode": "fixed_amount", "amount": "0.0"},
            "amount: expected a number above zero with mode fixed_amount, found '\"0.0\"'",
        ),
        ({"account_id": "a2"}, "expected a1 as in the subject"),
        ({"creator_id": "a.b"}, "creator_id"),
        ({"command_id": ""}, "command_id"),
    ],
)
def test_bad_command_is_refused(changes: dict[str, object], expected: str) -> None:
    with pytest.raises(MessageError) as refused:
        account_command(**changes)
    assert expected in str(refused.value)


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("", "field `type`"),
        ('"type":"open",', "type: expected open_creator or resume_creator, found 'open'"),
    ],
)
def test_creator_command_says_its_type(start: str, expected: str) -> None:
    with pytest.raises(MessageError, match=expected):
        decode_command("commands.creator.nancy", f'{{{start}"command_id":"c4","cash":1}}'.encode())


def test_a_creator_is_resumed_by_replay_or_void() -> None:
    with pytest.raises(MessageError, match="action: expected replay or void, found 'retry'"):
        decode_command(
            "commands.creator.nancy",
            b'{"type":"resume_creator","command_id":"c5","action":"retry"}',
        )


def test_creator_command_does_not_stand_on_an_account() -> None:
    with pytest.raises(MessageError, match="open_creator"):
        decode_command("commands.account.a1", b'{"type":"open_creator","command_id":"c4","cash":1}')


def test_bulk_answers_each_element_in_its_place() -> None:
    commands = [
        {**FOLLOW, "account_id": "a1"},
        {**FOLLOW},
        {**FOLLOW, "account_id": "a3", "cash": "x"},
        7,
        {**FOLLOW, "account_id": "a5"},
    ]
    found = decode_bulk(json.dumps(commands).encode())
    assert [type(command) for command in found] == [
        Follow,
        MessageError,
        MessageError,
        MessageError,
        Follow,
    ]
    assert "account_id" in str(found[1])


def test_answers_are_written_and_read() -> None:
    ok, refused = (
        encode_ok(epoch=3),
        encode_refused("unknown_creator", "creator: found none" + "x" * 1000),
    )
    assert json.loads(ok) == {"ok": True, "epoch": 3}
    assert json.loads(encode_answers([ok, refused]))[1]["reason"] == "unknown_creator"
    answer = decode_answer(refused)
    assert (answer.ok, answer.reason, len(answer.error)) == (False, "unknown_creator", 300)
