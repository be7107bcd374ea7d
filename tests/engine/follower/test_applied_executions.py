"""The numbered executions that a shard has applied, kept as runs of numbers."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from engine.follower.applied_executions import AppliedExecutions


@given(st.lists(st.lists(st.integers(-1, 40), min_size=1, max_size=6), max_size=12))
@example([list(range(0, 60, 3)), list(range(60, -1, -1)), [-1, 59, 61]])
def test_p8_execution_numbers_are_known_in_whatever_order_they_came(
    messages: list[list[int]],
) -> None:
    """They are kept in the fewest runs of numbers."""
    ids, known = AppliedExecutions(), set[int]()
    for message in messages:
        numbers = np.array(message)
        assert ids.seen("paper", "x-", numbers).tolist() == [number in known for number in message]
        ids.add("paper", "x-", numbers)
        known |= {number for number in message if number >= 0}
    rows = ids.rows()
    runs = rows[0][2] if rows else []
    assert {number for first, last in runs for number in range(first, last + 1)} == known
    assert all(runs[at][1] + 1 < runs[at + 1][0] for at in range(len(runs) - 1))
    assert AppliedExecutions.restored(rows).rows() == rows
    assert not ids.seen("other", "x-", np.arange(40)).any()
