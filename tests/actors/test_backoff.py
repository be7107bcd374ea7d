"""Pauses between attempts."""

from actors.backoff import Backoff


def test_pauses_begin_with_the_shortest_and_double_up_to_the_longest() -> None:
    backoff = Backoff(0.5, 3.0)
    assert [backoff.next_s() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_after_a_reset_pauses_begin_with_the_shortest_again() -> None:
    backoff = Backoff(0.5, 3.0)
    for _ in range(10):
        backoff.next_s()
    backoff.reset()
    assert [backoff.next_s() for _ in range(3)] == [0.5, 1.0, 2.0]


def test_two_backoffs_pause_alike() -> None:
    one, other = Backoff(0.05, 2.0), Backoff(0.05, 2.0)
    assert [one.next_s() for _ in range(20)] == [other.next_s() for _ in range(20)]
