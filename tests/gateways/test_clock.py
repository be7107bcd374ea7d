"""The wall clock's jumps: small ones are followed, large ones are believed only when they last."""

import time

from hypothesis import given
from hypothesis import strategies as st

from gateways.clock import (
    BELIEVED_AFTER_NS,
    CHECKED_EVERY_NS,
    JUMP_NS_MAX,
    NS_PER_S,
    WallClock,
    steady_ns,
)

START = 1_700_000_000 * NS_PER_S
HOUR = 3600 * NS_PER_S


class Machine:
    """A steady clock and a wall clock that is wrong by `wrong` ns."""

    def __init__(self) -> None:
        self.steady = 5 * HOUR
        self.wrong = 0
        self.clock = WallClock(lambda: START + self.steady + self.wrong, lambda: self.steady)

    def pass_(self, duration: int, *, calls: int = 1) -> int:
        """Let time pass. Returns: how far the clock is off then."""
        for _ in range(calls):
            self.steady += duration // calls
            now = self.clock.now_ns()
        return now - START - self.steady


def test_small_corrections_are_followed_at_once() -> None:
    machine = Machine()
    for wrong in (JUMP_NS_MAX, 3, -JUMP_NS_MAX // 2, 0):
        machine.wrong = wrong
        assert machine.pass_(CHECKED_EVERY_NS) == wrong


def test_a_jump_of_hours_that_is_taken_back_is_never_seen() -> None:
    machine = Machine()
    for jump in (5 * HOUR, -5 * HOUR):
        machine.wrong = jump
        assert machine.pass_(BELIEVED_AFTER_NS, calls=500) == 0
        machine.wrong = 0
        assert machine.pass_(HOUR, calls=500) == 0


def test_a_lasting_jump_is_followed() -> None:
    machine = Machine()
    machine.wrong = 5 * HOUR
    assert machine.pass_(BELIEVED_AFTER_NS, calls=500) == 0
    assert machine.pass_(2 * CHECKED_EVERY_NS) == 5 * HOUR


def test_a_clock_that_jumps_back_and_forth_is_not_followed() -> None:
    machine = Machine()
    for number in range(20):
        machine.wrong = (number % 3 + 1) * HOUR
        assert machine.pass_(BELIEVED_AFTER_NS // 2, calls=100) == 0


@given(
    steps=st.lists(
        st.tuples(st.integers(1, HOUR), st.integers(-JUMP_NS_MAX // 2, JUMP_NS_MAX // 2)),
        max_size=20,
    )
)
def test_a_clock_that_never_jumps_is_the_wall_clock(steps: list[tuple[int, int]]) -> None:
    machine = Machine()
    for duration, wrong in steps:
        machine.wrong = wrong
        machine.pass_(duration)
        assert machine.pass_(CHECKED_EVERY_NS) == wrong


def test_the_machines_own_clocks_are_read() -> None:
    first, before = WallClock(), steady_ns()
    assert abs(first.now_ns() - time.time_ns()) < HOUR
    assert steady_ns() >= before
