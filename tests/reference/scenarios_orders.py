"""Scenarios: the remainder of an order that ends, and the further attempts of exits.

The follower takes a tenth of every leg, so prices move nothing but money.
"""

from tests.reference.book import SECOND
from tests.reference.stage import Scenario, qty, tenth_stage, usd
from tests.reference.values import CANCELED, EXPIRED, REJECTED, SELL
from tests.reference.world import World, execute_all


def an_entrys_remainder_lowers_the_target(world: World) -> None:
    stage = tenth_stage(world)
    stage.buys("50", "100")
    world.execute(stage.order(), qty("2"), usd("100"))
    world.end(stage.order(), EXPIRED)
    stage.expect_holding("2", "2")
    stage.expect_money("9800")
    world.advance(120 * SECOND)
    assert world.open_orders() == []


def an_entrys_remainder_leaves_what_was_carried(world: World) -> None:
    stage = tenth_stage(world, lot="1")
    stage.buys("55", "100")
    world.execute(stage.order(), qty("2"), usd("100"))
    world.end(stage.order(), EXPIRED)
    # 3 of the 5.5 are given up; 0.5 stays carried above the 2 held.
    stage.expect_holding("2.5", "2")


def a_rejected_entry_leaves_nothing(world: World) -> None:
    stage = tenth_stage(world)
    stage.buys("50", "100")
    world.end(stage.order(), REJECTED)
    stage.expect_holding("0", "0")
    stage.expect_money("10000")


def a_short_entrys_remainder_raises_the_target(world: World) -> None:
    stage = tenth_stage(world, allow_short=True)
    stage.sells("50", "100")
    world.execute(stage.order(), qty("2"), usd("100"))
    world.end(stage.order(), EXPIRED)
    stage.expect_holding("-2", "-2")
    stage.expect_money("10200")


def an_entrys_end_never_undoes_a_decrease(world: World) -> None:
    stage = tenth_stage(world)
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
    stage = tenth_stage(world)
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
    stage = tenth_stage(world)
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
    stage = tenth_stage(world)
    stage.buys("50", "100")
    execute_all(world)
    stage.sells("25", "100")
    world.end(stage.order(), CANCELED)
    # t = 2.5 + 1 is still below p = 5: nothing to buy
    assert stage.buys("10", "100") == ["below_lot"]
    world.advance(SECOND)
    stage.expect_order(SELL, "1.5", "0", is_exit=True, attempt=1)


def a_further_attempt_without_need_is_dropped(world: World) -> None:
    stage = tenth_stage(world)
    stage.buys("50", "100")
    execute_all(world)
    stage.sells("25", "100")
    world.end(stage.order(), CANCELED)
    assert stage.buys("25", "100") == ["below_lot"]
    world.advance(120 * SECOND)
    assert world.open_orders() == []
    stage.expect_holding("5", "5")


def a_further_attempt_never_buys(world: World) -> None:
    stage = tenth_stage(world)
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
    stage = tenth_stage(world)
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
    stage = tenth_stage(world)
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
    stage = tenth_stage(world, allow_short=True)
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


def an_operator_ends_an_entry_and_the_exit_behind_it_goes_out(world: World) -> None:
    stage = tenth_stage(world)
    stage.buys("50", "100")
    execute_all(world)
    stage.buys("10", "100")
    # The broker says nothing of the entry of 1, nor of its cancel: the exit waits.
    assert stage.sells("60", "100") == ["netted"]
    world.advance(3600 * SECOND)
    assert stage.order().is_cancelling
    world.resolve(stage.order())
    stage.expect_order(SELL, "5", "0", is_exit=True, attempt=1)
    stage.expect_holding("0", "5", "-5")
    stage.expect_money("9500")


def an_operator_fills_a_part_and_then_the_rest(world: World) -> None:
    stage = tenth_stage(world)
    stage.buys("50", "100")
    world.resolve(stage.order(), qty("2"), usd("99"), fee=usd("0.5"))
    # 10,000 - 2 * 99 - 0.5; the rest of 3 is reserved at its limit of 100.5.
    stage.expect_holding("5", "2", "3")
    stage.expect_money("9801.5", "301.5")
    world.resolve(stage.order(), qty("3"), usd("100"))
    assert world.open_orders() == []
    stage.expect_holding("5", "5")
    stage.expect_money("9501.5")


def an_exit_that_an_operator_ends_is_tried_again(world: World) -> None:
    stage = tenth_stage(world)
    stage.buys("50", "100")
    execute_all(world)
    stage.sells("50", "100")
    world.resolve(stage.order())
    world.advance(SECOND)
    stage.expect_order(SELL, "5", "0", is_exit=True, attempt=1)


ORDERS: list[Scenario] = [
    an_operator_ends_an_entry_and_the_exit_behind_it_goes_out,
    an_operator_fills_a_part_and_then_the_rest,
    an_exit_that_an_operator_ends_is_tried_again,
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
]
