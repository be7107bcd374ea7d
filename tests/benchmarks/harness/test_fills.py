"""The fills that a benchmark publishes."""

from benchmarks.harness.fills import alternating


def test_fills_buy_and_sell_in_turn_for_each_creator() -> None:
    plans = alternating(["x", "y"], "p")
    sides = [(plan.creator_id, plan.side) for plan, _ in zip(plans, range(6), strict=False)]
    assert sides == [
        ("x", "buy"),
        ("y", "buy"),
        ("x", "sell"),
        ("y", "sell"),
        ("x", "buy"),
        ("y", "buy"),
    ]
