"""Follow-ups are found by row, compared with a plain dict."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.follower.follow_ups import FollowUp, FollowUps
from engine.values.order_ids import OrderKey

ROWS = 12
_rows = st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=5, unique=True).map(sorted)
_steps = st.lists(
    st.tuples(st.sampled_from(["add", "add", "drop"]), _rows, st.sampled_from([0, 0, 3, 5, 9])),
    max_size=30,
)


def column(rows: list[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(rows, np.int64)


@given(steps=_steps, now=st.integers(1, 10))
def test_each_row_keeps_the_newest_follow_up_queued_for_it(
    steps: list[tuple[str, list[int], int]], now: int
) -> None:
    follow_ups, of_row = FollowUps(), dict[int, tuple[int, int]]()
    for number, (step, rows, due) in enumerate(steps):
        if step == "add":
            follow_ups.add(FollowUp(OrderKey(0, 0, number, 0, 1), 1, 2, due, column(rows)))
            of_row |= dict.fromkeys(rows, (number, due))
        else:
            follow_ups.drop(column(rows))
            of_row = {row: queued for row, queued in of_row.items() if row not in rows}
    every = column(list(range(ROWS)))
    assert follow_ups.count == len(of_row) and bool(follow_ups) == bool(of_row)
    assert np.flatnonzero(follow_ups.are_queued(every)).tolist() == sorted(of_row)
    waiting = sorted(row for row, (_, due) in of_row.items() if not due)
    assert np.flatnonzero(follow_ups.are_waiting(every)).tolist() == waiting
    mask = follow_ups.waiting(2, ROWS)
    assert ([] if mask is None else (np.flatnonzero(mask) + 2).tolist()) == [
        row for row in waiting if row >= 2
    ]

    def named(groups: list[FollowUp]) -> list[tuple[int, int]]:
        return sorted(
            (row, group.key.cause_number) for group in groups for row in group.rows.tolist()
        )

    assert named(list(follow_ups)) == sorted((row, number) for row, (number, _) in of_row.items())
    ready = [group._replace(rows=rows) for group, rows in follow_ups.waiting_for(every[::-1])]
    assert named(ready) == sorted((row, of_row[row][0]) for row in waiting)
    for _ in range(2):
        fallen = sorted((row, number) for row, (number, due) in of_row.items() if 0 < due <= now)
        assert named(list(follow_ups.due(now))) == fallen, "asking takes nothing away"
