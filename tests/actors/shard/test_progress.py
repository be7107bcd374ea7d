"""How often progress follow frames."""

import pytest

from actors.shard.progress import Allowance


def test_an_allowance_gives_some_at_once_after_a_pause_and_then_so_many_a_second() -> None:
    allowance = Allowance(per_s=50, at_once=8)
    now_s = 1_000.0
    assert [allowance.take(now_s) <= 0 for _ in range(9)] == [True] * 8 + [False]
    assert allowance.take(now_s) == pytest.approx(2 / 50)
    assert allowance.take(now_s + 10) <= 0


def test_an_allowance_never_gives_more_than_its_rate() -> None:
    allowance = Allowance(per_s=50, at_once=8)
    taken, now_s = 0, 1_000.0
    while now_s < 1_002.0:
        wait_s = max(allowance.take(now_s), 0.0)
        now_s += wait_s + 0.001
        taken += 1
    assert 90 <= taken <= 2 * 50 + 8
