"""Percentiles and medians."""

import pytest

from benchmarks.harness.histogram import medians, percentiles


def test_percentiles_keep_three_digits_and_the_exact_maximum() -> None:
    found = percentiles([number * 1_000_000 for number in range(1, 1001)])
    assert found["count"] == 1000
    assert found["p50_ms"] == pytest.approx(500, rel=0.002)
    assert found["p99_ms"] == pytest.approx(990, rel=0.002)
    assert found["p99_9_ms"] <= found["max_ms"] == 1000.0
    assert percentiles([8_873_000])["p99_ms"] <= 8.873, "the histogram rounds up"


def test_medians_go_figure_by_figure() -> None:
    rows = [
        {"run": 1, "a": 1, "b": {"c": 9}},
        {"run": 2, "a": 3, "b": {"c": 5}},
        {"run": 3, "a": 2, "b": {"c": 7}},
    ]
    assert medians(rows) == {"a": 2, "b": {"c": 7}}
