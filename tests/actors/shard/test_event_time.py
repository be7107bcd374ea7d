"""Event time never goes back, and never stands still for as long as a clock was ahead (DESIGN:
event time; P10).
"""

from hypothesis import given
from hypothesis import strategies as st

from actors.shard.event_time import EventTime

HOUR = 3600 * 10**9


@given(clock=st.lists(st.integers(0, 10**6), min_size=1), last=st.integers(0, 10**6))
def test_event_time_never_goes_back_and_never_falls_behind_the_clock(
    clock: list[int], last: int
) -> None:
    event_time = EventTime()
    for now in clock:
        told = event_time.at(now, last)
        assert told >= max(now, last)
        last = told


def test_event_time_is_the_clock_unless_the_clock_is_behind() -> None:
    event_time = EventTime()
    assert event_time.at(7, 0) == 7
    assert event_time.at(100, 100) == 100


def test_event_time_ahead_of_the_clock_runs_at_half_speed_until_the_clock_catches_up() -> None:
    event_time, ahead, told = EventTime(), 5 * HOUR, [5 * HOUR]
    for minutes in range(1, 12 * 60):
        told.append(event_time.at(minutes * 60 * 10**9, told[-1]))
    assert told[60] == ahead + 59 * 30 * 10**9
    assert told[-1] == (12 * 60 - 1) * 60 * 10**9
    assert told == sorted(told)
