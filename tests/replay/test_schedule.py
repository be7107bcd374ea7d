"""The order of a replay: prices before fills at equal times, each in file order, every row exactly
once.
"""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from cluster.replay import schedule
from cluster.replay.inputs import FillRow, PriceRow
from cluster.replay.schedule import fill_mark_message, fill_message, mark_messages, steps
from gateways.json import public

TIMES = st.integers(0, 6)


def price(line: int, time: int) -> PriceRow:
    return PriceRow(line, time * 10**9, "ACME", 1_000_000 + line)


def fill(line: int, time: int) -> FillRow:
    return FillRow(line, time * 10**9, f"f{line}", "ann", "ACME", 1, 150_000_000, 10_250_000)


@given(st.lists(TIMES), st.lists(TIMES))
def test_steps_are_the_stable_merge_with_prices_first(
    fill_times: list[int], price_times: list[int]
) -> None:
    fills = [fill(line, time) for line, time in enumerate(fill_times)]
    prices = [price(line, time) for line, time in enumerate(price_times)]
    merged: list[tuple[int, int, int]] = []
    for step in steps(fills, prices):
        merged += [(row.time, 0, row.line) for row in step.prices]
        if step.fill is not None:
            merged.append((step.fill.time, 1, step.fill.line))
    expected = [(row.time, 0, row.line) for row in prices] + [
        (row.time, 1, row.line) for row in fills
    ]
    assert merged == sorted(expected)


def test_prices_between_two_fills_go_out_as_one_array() -> None:
    found = list(
        steps(
            [fill(1, 1), fill(2, 3)],
            [price(1, 0), price(2, 1), price(3, 2), price(4, 3), price(5, 4)],
        )
    )
    assert [[row.line for row in step.prices] for step in found] == [[1, 2], [3, 4], [5]]
    assert [len(list(mark_messages(step.prices))) for step in found] == [1, 1, 1]
    assert found[-1].fill is None


def test_a_large_array_is_split_and_loses_nothing() -> None:
    rows = [price(line, line) for line in range(20_000)]
    messages = list(mark_messages(rows))
    assert len(messages) > 1
    assert max(map(len, messages)) <= schedule.MARKS_BYTES_MAX + 2
    marks = [mark for message in messages for mark in public.decode_marks("marks.paper", message)]
    assert [(mark.symbol, mark.px, mark.time_ns) for mark in marks] == [
        (row.symbol, row.price, row.time) for row in rows
    ]


def test_a_fill_is_written_as_its_broker_would() -> None:
    row = fill(7, 5)
    (read,) = public.decode_fills("fills.paper.ann", fill_message(row))
    found = (
        read.exec_id,
        read.symbol,
        read.side,
        read.last_qty,
        read.last_px,
        read.transact_time_ns,
    )
    assert found == (row.fill_id, row.symbol, row.side, row.quantity, row.price, row.time)
    assert msgspec.json.decode(fill_message(row))["last_qty"] == "1.5"
    (mark,) = public.decode_marks("marks.paper", fill_mark_message(row))
    assert (mark.px, mark.time_ns) == (row.price, row.time)
