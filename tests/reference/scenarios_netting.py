"""Scenarios: an open order is cancelled when a signal wants the other side, and then followed up.

The follower takes a tenth of every leg unless said otherwise, so prices move nothing but money.
"""

from tests.reference.book import SECOND
from tests.reference.stage import Scenario, Stage, qty, tenth_stage, usd
from tests.reference.values import BUY, CANCELED, REJECTED, SELL
from tests.reference.world import World, execute_all


def a_decrease_nets_an_open_entry(world: World) -> None:
    stage = tenth_stage(world, lot="1")
    stage.buys("50", "100")
    assert stage.sells("25", "100") == ["netted"]
    order = stage.order()
    assert order.is_cancelling
    assert order.side == BUY
    stage.expect_holding("2.5", "0", "5")
    # 4 are bought before the broker takes the cancel.
    world.execute(order, qty("4"), usd("100"))
    assert stage.order().remaining == qty("1")
    world.end(stage.order(), CANCELED)
    stage.expect_order(SELL, "1", "0", is_exit=True, attempt=1)
    stage.expect_holding("2.5", "4", "-1")
    execute_all(world)
    stage.expect_holding("2.5", "3")


def a_netted_entry_that_was_not_filled_lowers_the_target(world: World) -> None:
    stage = tenth_stage(world)
    stage.buys("50", "100")
    assert stage.sells("25", "100") == ["netted"]
    world.end(stage.order(), CANCELED)
    # max(2.5 - 5, min(2.5, 0)) = 0
    stage.expect_holding("0", "0")
    assert world.open_orders() == []
    stage.expect_money("10000")


def a_netted_entry_filled_before_its_cancel_is_followed_too(world: World) -> None:
    stage = tenth_stage(world)
    stage.buys("50", "100")
    stage.sells("25", "100")
    world.execute(stage.order(), qty("5"), usd("100"))
    stage.expect_order(SELL, "2.5", "0", is_exit=True, attempt=1)
    stage.expect_holding("2.5", "5", "-2.5")


def a_flat_creator_nets_an_unfilled_entry(world: World) -> None:
    stage = tenth_stage(world)
    stage.buys("50", "100")
    assert stage.sells("50", "100") == ["netted"]
    world.end(stage.order(), CANCELED)
    stage.expect_holding("0", "0")
    assert world.open_orders() == []


def a_flat_creator_exits_what_an_entry_got(world: World) -> None:
    stage = tenth_stage(world, lot="1")
    stage.buys("50", "100")
    stage.sells("50", "100")
    world.execute(stage.order(), qty("1.5"), usd("100"))
    world.end(stage.order(), CANCELED)
    stage.expect_order(SELL, "1.5", "0", is_exit=True, attempt=1)


def an_increase_nets_an_open_exit(world: World) -> None:
    stage = tenth_stage(world)
    stage.buys("50", "100")
    execute_all(world)
    stage.sells("25", "100")
    assert stage.buys("40", "100") == ["netted"]
    stage.expect_holding("6.5", "5", "-2.5")
    # Nothing is reserved before the follow-up.
    stage.expect_money("9500")
    world.end(stage.order(), CANCELED)
    stage.expect_order(BUY, "1.5", "100.5", attempt=1)
    stage.expect_holding("6.5", "5", "1.5")
    stage.expect_money("9500", "150.75")


def an_increase_may_leave_a_smaller_exit(world: World) -> None:
    stage = tenth_stage(world)
    stage.buys("50", "100")
    execute_all(world)
    stage.sells("25", "100")
    assert stage.buys("10", "100") == ["netted"]
    world.end(stage.order(), CANCELED)
    # t = 2.5 + 1, p = 5
    stage.expect_order(SELL, "1.5", "0", is_exit=True, attempt=1)


def an_increase_that_may_not_be_leaves_an_open_exit(world: World) -> None:
    stage = tenth_stage(world)
    stage.buys("50", "100")
    execute_all(world)
    stage.sells("25", "100")
    assert stage.buys("10", "100", age=61 * SECOND) == ["entry_window"]
    world.pause("bob", "ann")
    assert stage.buys("10", "100") == ["paused"]
    assert not stage.order().is_cancelling
    # p+o = 5 - 2.5 is what can be reached without buying.
    stage.expect_holding("2.5", "5", "-2.5")
    execute_all(world)
    stage.expect_holding("2.5", "2.5")


def a_paused_increase_adds_nothing_to_a_smaller_exit_that_waits(world: World) -> None:
    stage = tenth_stage(world)
    stage.buys("50", "100")
    execute_all(world)
    stage.sells("25", "100")
    assert stage.buys("10", "100") == ["netted"]
    world.pause("bob", "ann")
    assert stage.buys("10", "110") == ["paused"]
    stage.expect_holding("3.5", "5", "-2.5")
    world.end(stage.order(), CANCELED)
    order = stage.expect_order(SELL, "1.5", "0", is_exit=True, attempt=1)
    assert order.price == usd("100")


def a_paused_increase_adds_nothing_to_an_exit_that_waits(world: World) -> None:
    stage = tenth_stage(world)
    stage.buys("50", "100")
    assert stage.sells("25", "100") == ["netted"]
    world.pause("bob", "ann")
    assert stage.buys("10", "100") == ["paused"]
    stage.expect_holding("2.5", "0", "5")
    world.execute(stage.order(), qty("4"), usd("100"))
    world.end(stage.order(), CANCELED)
    # max(2.5 - 1, min(2.5, 4)) = 2.5
    stage.expect_order(SELL, "1.5", "0", is_exit=True, attempt=1)


def a_follow_up_meets_the_limits(world: World) -> None:
    stage = tenth_stage(world, weight="0.06")
    stage.buys("50", "100")
    execute_all(world)
    stage.sells("25", "100")
    assert stage.buys("40", "100") == ["netted"]
    stage.expect_holding("6.5", "5", "-2.5")
    world.end(stage.order(), CANCELED)
    # 6 % of 10,000 is 600: 6 in all
    stage.expect_order(BUY, "1", "100.5", attempt=1)
    stage.expect_holding("6", "5", "1")


def a_follow_up_needs_equity(world: World) -> None:
    stage = Stage(world)
    stage.follow(cash="2000", mode="multiplier", ratio="0.1", allow_short=True)
    stage.sells("50", "100", "BETA")
    stage.buys("50", "100")
    execute_all(world)
    stage.sells("25", "100")
    assert stage.buys("40", "100") == ["netted"]
    exit_order = stage.order()
    assert stage.buys("1", "600", "BETA") == ["ordered"]
    # e = 2000 + 5 * 100 - 5 * 600 = -500, although 2000 - 2 * 500 = 1000 are available.
    world.end(exit_order, CANCELED)
    stage.expect_holding("5", "5")


def a_follow_up_can_come_too_late(world: World) -> None:
    stage = tenth_stage(world)
    stage.buys("50", "100")
    execute_all(world)
    stage.sells("25", "100")
    stage.buys("40", "100")
    world.advance(61 * SECOND)
    world.end(stage.order(), CANCELED)
    assert world.open_orders() == []
    stage.expect_holding("5", "5")


def the_newest_cause_follows_up(world: World) -> None:
    stage = tenth_stage(world)
    stage.buys("50", "100")
    execute_all(world)
    stage.sells("25", "100")
    assert stage.buys("40", "100") == ["netted"]
    assert stage.buys("10", "110") == ["netted"]
    world.end(stage.order(), CANCELED)
    order = stage.expect_order(BUY, "2.5", "110.55", attempt=1)
    assert order.price == usd("110")


def an_increase_waits_for_a_cancel_on_its_own_side(world: World) -> None:
    stage = tenth_stage(world)
    stage.buys("50", "100")
    assert stage.sells("25", "100") == ["netted"]
    assert stage.buys("10", "110") == ["netted"]
    stage.expect_holding("3.5", "0", "5")
    world.execute(stage.order(), qty("5"), usd("100"))
    order = stage.expect_order(SELL, "1.5", "0", is_exit=True, attempt=1)
    assert order.price == usd("110")


def crossing_zero_with_an_open_entry_exits_first(world: World) -> None:
    stage = tenth_stage(world, lot="1", allow_short=True)
    stage.buys("50", "100")
    assert stage.sells("60", "100") == ["netted", "netted"]
    stage.expect_holding("-1", "0", "5")
    world.execute(stage.order(), qty("1.5"), usd("100"))
    world.end(stage.order(), CANCELED)
    # All of the position is on the way to -1, so lots do not matter.
    stage.expect_order(SELL, "1.5", "0", is_exit=True, leg=1, attempt=1)
    execute_all(world)
    # The quantity beyond zero is traded with the next fill.
    stage.expect_holding("-1", "0")
    assert stage.sells("10", "100") == ["ordered"]
    stage.expect_order(SELL, "2", "99.5")


def an_unfinished_exit_never_turns_a_target(world: World) -> None:
    stage = tenth_stage(world, allow_short=True)
    stage.sells("30", "100")
    execute_all(world)
    assert stage.buys("80", "100") == ["ordered", "ordered"]
    close, open_ = world.open_orders()
    world.end(close, REJECTED)
    stage.expect_holding("5", "-3", "5")
    # 5 * 40 / 50 = 4 less leaves t = 1, and p + o = 2: the open buy is in the way.
    assert stage.sells("40", "100") == ["netted"]
    world.end(open_, CANCELED)
    # max(1 - 5, min(1, 0)) = 0: p + o = -3 is an exit to finish, not a target.
    stage.expect_order(BUY, "3", "0", is_exit=True, attempt=1)
    stage.expect_holding("0", "-3", "3")


NETTING: list[Scenario] = [
    a_decrease_nets_an_open_entry,
    a_netted_entry_that_was_not_filled_lowers_the_target,
    a_netted_entry_filled_before_its_cancel_is_followed_too,
    a_flat_creator_nets_an_unfilled_entry,
    a_flat_creator_exits_what_an_entry_got,
    an_increase_nets_an_open_exit,
    an_increase_may_leave_a_smaller_exit,
    an_increase_that_may_not_be_leaves_an_open_exit,
    a_paused_increase_adds_nothing_to_a_smaller_exit_that_waits,
    a_paused_increase_adds_nothing_to_an_exit_that_waits,
    a_follow_up_meets_the_limits,
    a_follow_up_needs_equity,
    a_follow_up_can_come_too_late,
    the_newest_cause_follows_up,
    an_increase_waits_for_a_cancel_on_its_own_side,
    crossing_zero_with_an_open_entry_exits_first,
    an_unfinished_exit_never_turns_a_target,
]
