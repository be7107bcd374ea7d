"""The engine's cost without servers, tiny: every stage is timed, and the same work leaves the same
state.
"""

from benchmarks.measures.engine_cost import STAGES, measure


def test_the_same_fills_leave_the_same_state_whatever_they_cost() -> None:
    figures, orders, digest = measure(3, 4, 4)
    assert tuple(figures) == STAGES and min(figures.values()) > 0
    assert orders == 3 * 4 * 4
    assert measure(3, 4, 4)[1:] == (orders, digest)
