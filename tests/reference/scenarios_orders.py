"""Scenarios: the lives of orders: netting, remainders, further attempts, the end of a subscription.

The follower takes a tenth of every leg (multiplier 0.1) unless said otherwise, so prices move
nothing but money.
"""

from tests.reference.book import SECOND
from tests.reference.stage import Scenario, Stage, qty, usd
from tests.reference.values import BUY, CANCELED, EXPIRED, REJECTED, SELL
from tests.reference.world import World, execute_all


def _stage(
    world: World, *, lot: str = "0.01", allow_short: bool = False, weight: str = "0"
) -> Stage:
    stage = Stage(world, lot=lot)
    stage.follow(
        mode="multiplier", ratio="0.1", allow_short=allow_short, max_position_weight=weight
    )
    return stage


def a_decrease_nets_an_open_entry(world: World) -> None:
    stage = _stage(world, lot="1")
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
    stage = _stage(world)
    stage.buys("50", "100")
    assert stage.sells("25", "100") == ["netted"]
    world.end(stage.order(), CANCELED)
    # max(2.5 - 5, min(2.5, 0)) = 0
    stage.expect_holding("0", "0")
    assert world.open_orders() == []
    stage.expect_money("10000")


def a_netted_entry_filled_before_its_cancel_is_followed_too(world: World) -> None:
    stage = _stage(world)
    stage.buys("50", "100")
    stage.sells("25", "100")
    world.execute(stage.order(), qty("5"), usd("100"))
    stage.expect_order(SELL, "2.5", "0", is_exit=True, attempt=1)
    stage.expect_holding("2.5", "5", "-2.5")


def a_flat_creator_nets_an_unfilled_entry(world: World) -> None:
    stage = _stage(world)
    stage.buys("50", "100")
    assert stage.sells("50", "100") == ["netted"]
    world.end(stage.order(), CANCELED)
    stage.expect_holding("0", "0")
    assert world.open_orders() == []


def a_flat_creator_exits_what_an_entry_got(world: World) -> None:
    stage = _stage(world, lot="1")
    stage.buys("50", "100")
    stage.sells("50", "100")
    world.execute(stage.order(), qty("1.5"), usd("100"))
    world.end(stage.order(), CANCELED)
    stage.expect_order(SELL, "1.5", "0", is_exit=True, attempt=1)


def an_increase_nets_an_open_exit(world: World) -> None:
    stage = _stage(world)
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
    stage = _stage(world)
    stage.buys("50", "100")
    execute_all(world)
    stage.sells("25", "100")
    assert stage.buys("10", "100") == ["netted"]
    world.end(stage.order(), CANCELED)
    # t = 2.5 + 1, p = 5
    stage.expect_order(SELL, "1.5", "0", is_exit=True, attempt=1)


def an_increase_that_may_not_be_leaves_an_open_exit(world: World) -> None:
    stage = _stage(world)
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
    stage = _stage(world)
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
    stage = _stage(world)
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
    stage = _stage(world, weight="0.06")
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
    stage = _stage(world)
    stage.buys("50", "100")
    execute_all(world)
    stage.sells("25", "100")
    stage.buys("40", "100")
    world.advance(61 * SECOND)
    world.end(stage.order(), CANCELED)
    assert world.open_orders() == []
    stage.expect_holding("5", "5")


def the_newest_cause_follows_up(world: World) -> None:
    stage = _stage(world)
    stage.buys("50", "100")
    execute_all(world)
    stage.sells("25", "100")
    assert stage.buys("40", "100") == ["netted"]
    assert stage.buys("10", "110") == ["netted"]
    world.end(stage.order(), CANCELED)
    order = stage.expect_order(BUY, "2.5", "110.55", attempt=1)
    assert order.price == usd("110")


def an_increase_waits_for_a_cancel_on_its_own_side(world: World) -> None:
    stage = _stage(world)
    stage.buys("50", "100")
    assert stage.sells("25", "100") == ["netted"]
    assert stage.buys("10", "110") == ["netted"]
    stage.expect_holding("3.5", "0", "5")
    world.execute(stage.order(), qty("5"), usd("100"))
    order = stage.expect_order(SELL, "1.5", "0", is_exit=True, attempt=1)
    assert order.price == usd("110")


def crossing_zero_with_an_open_entry_exits_first(world: World) -> None:
    stage = _stage(world, lot="1", allow_short=True)
    stage.buys("50", "100")
    assert stage.sells("60", "100") == ["netted", "netted"]
    stage.expect_holding("-1", "0", "5")
    world.execute(stage.order(), qty("1.5"), usd("100"))
    world.end(stage.order(), CANCELED)
    # All of the position is on the way to -1, so lots do not matter.
    stage.expect_order(SELL, "1.5", "0", is_exit=True, leg=1, attempt=1)
    execute_all(world)
    # What is wanted beyond zero is traded with the next fill.
    stage.expect_holding("-1", "0")
    assert stage.sells("10", "100") == ["ordered"]
    stage.expect_order(SELL, "2", "99.5")


def an_unfinished_exit_never_turns_a_target(world: World) -> None:
    stage = _stage(world, allow_short=True)
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


def an_entrys_remainder_lowers_the_target(world: World) -> None:
    stage = _stage(world)
    stage.buys("50", "100")
    world.execute(stage.order(), qty("2"), usd("100"))
    world.end(stage.order(), EXPIRED)
    stage.expect_holding("2", "2")
    stage.expect_money("9800")
    world.advance(120 * SECOND)
    assert world.open_orders() == []


def an_entrys_remainder_leaves_what_was_carried(world: World) -> None:
    stage = _stage(world, lot="1")
    stage.buys("55", "100")
    world.execute(stage.order(), qty("2"), usd("100"))
    world.end(stage.order(), EXPIRED)
    # 3 of the 5.5 are given up; 0.5 stays carried above the 2 held.
    stage.expect_holding("2.5", "2")


def a_rejected_entry_leaves_nothing(world: World) -> None:
    stage = _stage(world)
    stage.buys("50", "100")
    world.end(stage.order(), REJECTED)
    stage.expect_holding("0", "0")
    stage.expect_money("10000")


def a_short_entrys_remainder_raises_the_target(world: World) -> None:
    stage = _stage(world, allow_short=True)
    stage.sells("50", "100")
    world.execute(stage.order(), qty("2"), usd("100"))
    world.end(stage.order(), EXPIRED)
    stage.expect_holding("-2", "-2")
    stage.expect_money("10200")


def an_entrys_end_never_undoes_a_decrease(world: World) -> None:
    stage = _stage(world)
    stage.buys("50", "100")
    execute_all(world)
    stage.buys("10", "100")
    # t = 6, p = 5, o = 1: a decrease of 3 wants to sell 3 and meets the open buy.
    assert stage.sells("30", "100") == ["netted"]
    world.end(stage.order(), CANCELED)
    # max(3 - 1, min(3, 5)) = 3
    stage.expect_order(SELL, "2", "0", is_exit=True, attempt=1)
    stage.expect_holding("3", "5", "-2")


def an_exit_is_tried_again(world: World) -> None:
    stage = _stage(world)
    stage.buys("50", "100")
    execute_all(world)
    stage.sells("50", "100")
    world.execute(stage.order(), qty("1"), usd("100"))
    world.end(stage.order(), CANCELED)
    stage.expect_holding("0", "4")
    world.advance(SECOND - 1)
    assert world.open_orders() == []
    world.advance(1)
    world.end(stage.expect_order(SELL, "4", "0", is_exit=True, attempt=1), REJECTED)
    world.advance(2 * SECOND - 1)
    assert world.open_orders() == []
    world.advance(1)
    stage.expect_order(SELL, "4", "0", is_exit=True, attempt=2)


def further_attempts_wait_a_minute_at_most(world: World) -> None:
    stage = _stage(world)
    stage.buys("50", "100")
    execute_all(world)
    stage.sells("50", "100")
    for attempt, seconds in enumerate((1, 2, 4, 8, 16, 32, 60, 60)):
        world.end(stage.expect_order(SELL, "5", "0", is_exit=True, attempt=attempt), REJECTED)
        world.advance(seconds * SECOND - 1)
        assert world.open_orders() == []
        world.advance(1)
    execute_all(world)
    stage.expect_holding("0", "0")


def a_further_attempt_sees_later_signals(world: World) -> None:
    stage = _stage(world)
    stage.buys("50", "100")
    execute_all(world)
    stage.sells("25", "100")
    world.end(stage.order(), CANCELED)
    # t = 2.5 + 1 is still below p = 5: nothing to buy
    assert stage.buys("10", "100") == ["below_lot"]
    world.advance(SECOND)
    stage.expect_order(SELL, "1.5", "0", is_exit=True, attempt=1)


def a_further_attempt_without_need_is_dropped(world: World) -> None:
    stage = _stage(world)
    stage.buys("50", "100")
    execute_all(world)
    stage.sells("25", "100")
    world.end(stage.order(), CANCELED)
    assert stage.buys("25", "100") == ["below_lot"]
    world.advance(120 * SECOND)
    assert world.open_orders() == []
    stage.expect_holding("5", "5")


def a_further_attempt_never_buys(world: World) -> None:
    stage = _stage(world)
    stage.buys("50", "100")
    execute_all(world)
    stage.sells("20", "100")
    world.end(stage.order(), CANCELED)
    # t = 3 + 2.5 wants 0.5, which is too little at 1 and would not be at the exit's 100.
    assert stage.buys("25", "1") == ["below_min_notional"]
    world.advance(SECOND)
    assert world.open_orders() == []
    stage.expect_holding("5.5", "5")


def an_exit_to_be_tried_again_outlives_the_creators_other_side(world: World) -> None:
    stage = _stage(world)
    stage.buys("50", "100")
    execute_all(world)
    assert stage.sells("80", "100") == ["ordered", "short_not_allowed"]
    world.end(stage.order(), REJECTED)
    # The creator covers a short that the follower never had; its own long is closed for the cause
    # that began that.
    assert stage.buys("30", "100") == ["no_position"]
    assert world.open_orders() == []
    world.advance(SECOND)
    stage.expect_order(SELL, "5", "0", is_exit=True, attempt=1)


def an_exit_to_be_tried_again_serves_the_way_back_across_zero(world: World) -> None:
    stage = _stage(world)
    stage.buys("50", "100")
    execute_all(world)
    stage.sells("80", "100")
    world.end(stage.order(), REJECTED)
    # t = 2 of the 5 still held: nothing to buy, and only 3 to sell.
    assert stage.buys("50", "100") == ["no_position", "below_lot"]
    stage.expect_holding("2", "5")
    world.advance(SECOND)
    stage.expect_order(SELL, "3", "0", is_exit=True, attempt=1)


def an_entry_that_made_up_for_an_exit_ends_and_the_exit_is_tried_again(world: World) -> None:
    stage = _stage(world, allow_short=True)
    stage.buys("50", "100")
    execute_all(world)
    assert stage.sells("100", "100") == ["ordered", "ordered"]
    leave, enter = world.open_orders()
    assert leave.is_exit
    # With the entry still open, p + o is 0: there is nothing to place for the exit.
    world.end(leave, REJECTED)
    world.advance(60 * SECOND)
    world.end(enter, EXPIRED)
    stage.expect_holding("0", "5")
    world.advance(SECOND)
    stage.expect_order(SELL, "5", "0", is_exit=True, leg=1, attempt=1)


def unfollow_closes_everything(world: World) -> None:
    stage = _stage(world)
    stage.buys("50", "100")
    stage.buys("100", "10", "BETA")
    execute_all(world)
    world.unfollow("bob", "ann")
    acme, beta = world.open_orders()
    assert (acme.symbol, acme.key.leg, acme.side, acme.quantity, acme.limit_price) == (
        "ACME",
        0,
        SELL,
        qty("5"),
        0,
    )
    assert (beta.symbol, beta.key.leg, beta.side, beta.quantity, beta.is_exit) == (
        "BETA",
        1,
        SELL,
        qty("10"),
        True,
    )
    assert world.sleeve("bob", "ann").status == "ending"
    stage.expect_holding("0", "5", "-5")
    assert stage.buys("50", "100") == []
    execute_all(world)
    assert world.sleeve("bob", "ann").status == "ended"
    stage.expect_money("10000")


def unfollow_without_positions_ends_at_once(world: World) -> None:
    stage = _stage(world)
    world.unfollow("bob", "ann")
    assert world.sleeve("bob", "ann").status == "ended"
    assert stage.buys("50", "100") == []


def unfollow_cancels_open_entries_first(world: World) -> None:
    stage = _stage(world)
    stage.buys("50", "100")
    world.execute(stage.order(), qty("2"), usd("100"))
    world.unfollow("bob", "ann")
    order = stage.order()
    assert order.is_cancelling
    assert order.side == BUY
    world.end(order, CANCELED)
    stage.expect_order(SELL, "2", "0", is_exit=True, attempt=1)
    execute_all(world)
    assert world.sleeve("bob", "ann").status == "ended"
    stage.expect_holding("0", "0")


def unfollow_ends_after_an_unfilled_entry_is_cancelled(world: World) -> None:
    stage = _stage(world)
    stage.buys("50", "100")
    world.unfollow("bob", "ann")
    assert world.sleeve("bob", "ann").status == "ending"
    world.end(stage.order(), CANCELED)
    assert world.sleeve("bob", "ann").status == "ended"
    stage.expect_money("10000")


def unfollow_counts_the_exits_already_open(world: World) -> None:
    stage = _stage(world)
    stage.buys("50", "100")
    execute_all(world)
    stage.sells("25", "100")
    world.unfollow("bob", "ann")
    assert sorted(order.quantity for order in world.open_orders()) == [qty("2.5"), qty("2.5")]
    execute_all(world)
    assert world.sleeve("bob", "ann").status == "ended"


def unfollow_tries_its_exits_again(world: World) -> None:
    stage = _stage(world, allow_short=True)
    stage.sells("50", "100")
    execute_all(world)
    world.unfollow("bob", "ann")
    world.end(stage.expect_order(BUY, "5", "0", is_exit=True), EXPIRED)
    assert world.sleeve("bob", "ann").status == "ending"
    world.advance(SECOND)
    stage.expect_order(BUY, "5", "0", is_exit=True, attempt=1)
    execute_all(world)
    assert world.sleeve("bob", "ann").status == "ended"


ORDERS: list[Scenario] = [
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
    an_entrys_remainder_lowers_the_target,
    an_entrys_remainder_leaves_what_was_carried,
    a_rejected_entry_leaves_nothing,
    a_short_entrys_remainder_raises_the_target,
    an_entrys_end_never_undoes_a_decrease,
    an_exit_is_tried_again,
    further_attempts_wait_a_minute_at_most,
    a_further_attempt_sees_later_signals,
    a_further_attempt_without_need_is_dropped,
    a_further_attempt_never_buys,
    an_entry_that_made_up_for_an_exit_ends_and_the_exit_is_tried_again,
    an_exit_to_be_tried_again_outlives_the_creators_other_side,
    an_exit_to_be_tried_again_serves_the_way_back_across_zero,
    unfollow_closes_everything,
    unfollow_without_positions_ends_at_once,
    unfollow_cancels_open_entries_first,
    unfollow_ends_after_an_unfilled_entry_is_cancelled,
    unfollow_counts_the_exits_already_open,
    unfollow_tries_its_exits_again,
]
