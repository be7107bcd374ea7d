"""Whatever a broker answers in JSON is an answer's block or a SectionError: nothing else can reach
the gateway.
"""

import asyncio
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.columns.section_types import SectionError, column_of
from engine.messages.blocks import BlockAnswered, OrdersLookedUp, decode_block, encode_block
from gateways.json.broker import JsonBroker
from tests.gateways.json.test_orders import EPOCH, FRAME, HISTORY, KEY, order_id, orders

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(1 << 70), 1 << 70)
    | st.floats()
    | st.text(max_size=30)
    | st.sampled_from(["", order_id(1), "0" * 16, "-1", "1e9"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=8,
)
RIGHT = {"accepted": 2, "repeated": 0, "code": 0}
EXECUTIONS = HISTORY["executions"][0]


def spoiled(right: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with some of its fields replaced by anything, and some left out."""
    return st.fixed_dictionaries({}, optional={name: st.just(right[name]) | JSON for name in right})


ANSWERS = st.builds(
    lambda answer, history, known: answer | {"history": history, "known": known},
    spoiled(RIGHT | {"refusal": "no"}),
    JSON
    | st.builds(
        lambda history, frame, executions: (
            history | {"frames": [frame], "executions": [executions]}
        ),
        spoiled(HISTORY),
        spoiled(FRAME),
        spoiled(EXECUTIONS),
    ),
    st.just([order_id(1)]) | JSON,
)
BLOCKS = [
    encode_block(EPOCH),
    encode_block(EPOCH, orders()),
    encode_block(EPOCH, OrdersLookedUp(7, KEY, column_of(1))),
]


def submitted(block: bytes, data: bytes) -> list[Any] | str:
    """Submit a block to a broker that answers anything. Returns: the answer's sections, or why it
    is wrong.
    """

    async def send(message: bytes) -> bytes:
        return data

    try:
        return decode_block(asyncio.run(JsonBroker(send).submit(block)))
    except SectionError as error:
        return str(error)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(BLOCKS), ANSWERS.map(lambda each: json.dumps(each).encode()))
def test_an_answer_of_anything_is_read_or_wrong(block: bytes, data: bytes) -> None:
    found = submitted(block, data)
    if isinstance(found, str):
        assert 0 < len(found) <= 300
    else:
        assert isinstance(found[0], BlockAnswered)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(BLOCKS), st.binary(max_size=60))
def test_bytes_of_anything_are_read_or_wrong(block: bytes, data: bytes) -> None:
    assert isinstance(submitted(block, data), str)


def test_the_right_answers_among_them_are_read() -> None:
    answer = json.dumps(RIGHT | {"history": HISTORY, "known": [order_id(1)]}).encode()
    found = [[type(each).__name__ for each in submitted(block, answer)] for block in BLOCKS]
    assert found == [
        ["BlockAnswered", "HistoryStated", "ExecutionsStated"],
        ["BlockAnswered"],
        ["BlockAnswered", "OrdersKnown"],
    ]
