"""A rate limit holds over any second: a broker's orders, a shard's progress."""

from hypothesis import given
from hypothesis import strategies as st

from actors.rate_limit import RateLimit
from engine.values.units import NS_PER_S


def test_without_a_limit_any_number_is_allowed() -> None:
    assert RateLimit(0, burst=0).allowed(5) is None


def test_each_second_allows_the_rate_of_orders() -> None:
    rate = RateLimit(10, burst=10)
    assert rate.allowed(0) == 10
    rate.take(10)
    assert rate.allowed(NS_PER_S // 10 - 1) == 0
    assert rate.allowed(NS_PER_S // 10) == 1
    assert rate.allowed(5 * NS_PER_S) == 10


def test_a_clock_that_steps_back_allows_nothing_more() -> None:
    rate = RateLimit(10, burst=10)
    rate.allowed(NS_PER_S)
    rate.take(10)
    assert rate.allowed(0) == 0


@given(st.integers(1, 1000), st.lists(st.integers(0, 3 * NS_PER_S), max_size=50))
def test_no_more_is_taken_than_the_burst_plus_the_time_that_passed(
    per_s: int, pauses_ns: list[int]
) -> None:
    rate, now_ns, sent = RateLimit(per_s, burst=per_s), 0, 0
    for pause_ns in pauses_ns:
        now_ns += pause_ns
        allowed = rate.allowed(now_ns)
        assert allowed is not None
        rate.take(allowed)
        sent += allowed
        assert sent <= per_s + now_ns * per_s // NS_PER_S


@given(
    st.integers(1, 1000),
    st.lists(st.tuples(st.integers(0, NS_PER_S), st.integers(0, 1000)), max_size=50),
)
def test_repeats_wait_for_their_turn_and_new_orders_wait_behind_them(
    per_s: int, again: list[tuple[int, int]]
) -> None:
    rate, now_ns, sent = RateLimit(per_s, burst=per_s), 0, list[tuple[int, int]]()
    for pause_ns, orders in again:
        now_ns += pause_ns
        sent.append((now_ns + rate.take_in_turn(min(orders, per_s), now_ns), min(orders, per_s)))
        assert rate.take_in_turn(0, now_ns) == 0
        new = rate.allowed(now_ns)
        assert new is not None and (new == 0 or sent[-1][0] == now_ns)
        rate.take(new)
        sent.append((now_ns, new))
    for until_ns, _ in sent:
        gone = sum(orders for at_ns, orders in sent if at_ns <= until_ns)
        assert gone <= per_s + until_ns * per_s // NS_PER_S + 1


def test_a_burst_goes_at_once_after_a_pause_and_later_orders_wait() -> None:
    rate, now_ns = RateLimit(50, burst=8), 1_000 * NS_PER_S
    waits = [rate.take_in_turn(1, now_ns) for _ in range(10)]
    assert waits == [0] * 8 + [NS_PER_S // 50, 2 * NS_PER_S // 50]
    assert rate.take_in_turn(1, now_ns + 10 * NS_PER_S) == 0


def test_orders_that_wait_for_their_turn_never_exceed_the_rate() -> None:
    rate, taken, now_ns = RateLimit(50, burst=8), 0, 1_000 * NS_PER_S
    while now_ns < 1_002 * NS_PER_S:
        now_ns += rate.take_in_turn(1, now_ns) + NS_PER_S // 1_000
        taken += 1
    assert 90 <= taken <= 2 * 50 + 8
