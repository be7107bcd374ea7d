"""A few refused executions are refused one by one, each named; many of one reason in one event."""

import numpy as np
import pytest

from actors.follower.refused_executions import REFUSED_EACH_MAX, Refusal, refused_executions
from actors.ports import StoredMessage
from engine.follower.decide.executions import Unmatched
from engine.messages.blocks import ExecutionsReported
from engine.values.order_ids import OrderKey, parse_order_id
from engine.values.order_status import ExecType

MESSAGE = StoredMessage(7, "executions.paper.3", b"")


def report(rows: int) -> ExecutionsReported:
    numbers, ones = np.arange(rows, dtype=np.int64), np.ones(rows, np.int64)
    trades, key = ones * ExecType.TRADE, OrderKey(0, 0, 1, 0, 0)
    return ExecutionsReported(3, "x-", key, 1, numbers, numbers, trades, ones, ones, ones - 1)


@pytest.mark.parametrize("rows", [1, REFUSED_EACH_MAX])
def test_a_few_are_refused_one_by_one_with_their_order(rows: int) -> None:
    unmatched = Unmatched(report(rows), "overfill", "more than its order")
    events = list(refused_executions(3, MESSAGE, [Refusal(unmatched, np.arange(rows))]))
    assert [event.excerpts for event in events] == [[f"x-{row}"] for row in range(rows)]
    for row, event in enumerate(events):
        (text,) = event.reasons
        order = text.split(" of order ")[1].split(":")[0]
        assert text == f"overfill: execution x-{row} of order {order}: more than its order"
        assert parse_order_id(order)[1] >> 32 == row
        assert (event.sequences.tolist(), event.subjects) == ([7], ["executions.paper.3"])


def test_many_are_refused_in_one_event_with_the_first_and_the_last() -> None:
    rows = REFUSED_EACH_MAX + 1
    unmatched = Unmatched(report(rows), "overfill", "more than its order")
    (event,) = refused_executions(3, MESSAGE, [Refusal(unmatched, np.arange(rows))])
    assert event.excerpts == [f"x-0 to x-{rows - 1}"]
    assert event.reasons[0].startswith(
        f"overfill: {rows} executions x-0 to x-{rows - 1} of orders "
    )


def test_many_reports_of_one_reason_share_an_event_and_another_reason_has_its_own() -> None:
    one = Unmatched(report(1), "overfill", "more than its order")
    other = Unmatched(report(2), "number", "last_px: expected more, found 0")
    refusals = [Refusal(one, np.arange(1))] * (REFUSED_EACH_MAX + 1)
    events = list(refused_executions(3, MESSAGE, [*refusals, Refusal(other, np.arange(2))]))
    assert [event.reasons[0].partition(":")[0] for event in events] == [
        "overfill",
        "number",
        "number",
    ]
    assert f"{REFUSED_EACH_MAX + 1} executions" in events[0].reasons[0]
