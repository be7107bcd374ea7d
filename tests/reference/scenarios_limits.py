"""Scenarios: orders that limits cut or skip, and the reasons. Unless said otherwise E = 100,000 and
e = 10,000.
"""

from tests.reference.book import SECOND
from tests.reference.stage import Scenario, Stage, qty, usd
from tests.reference.values import BUY, SELL
from tests.reference.world import World, execute_all


def order_notional_cuts(world: World) -> None:
    stage = Stage(world, lot="1")
    stage.follow(max_order_notional="250")
    assert stage.buys("50", "100") == ["ordered"]
    # 250 / 100 = 2.5 of the wanted 5; the rest is not carried.
    stage.expect_holding("2", "0", "2")


def order_notional_skips_below_a_lot(world: World) -> None:
    stage = Stage(world, lot="1")
    stage.follow(max_order_notional="99.999999")
    assert stage.buys("50", "100") == ["max_order_notional"]
    stage.expect_holding("0", "0")


def order_notional_skips_below_the_minimum_notional(world: World) -> None:
    stage = Stage(world)
    stage.follow(max_order_notional="0.5")
    assert stage.buys("50", "10") == ["max_order_notional"]
    stage.expect_holding("0", "0")


def order_notional_sees_the_carried_remainder(world: World) -> None:
    stage = Stage(world, lot="1")
    stage.follow(max_order_notional="100")
    assert stage.buys("8", "100") == ["below_lot"]
    stage.expect_holding("0.8", "0")
    # 0.8 + 1.5 = 2.3 wants 2 and gets 1
    assert stage.buys("15", "100") == ["ordered"]
    stage.expect_holding("1", "0", "1")


def an_uncut_order_keeps_its_remainder_under_a_limit(world: World) -> None:
    stage = Stage(world, lot="1")
    stage.follow(max_order_notional="200")
    assert stage.buys("29", "100") == ["ordered"]
    stage.expect_holding("2.9", "0", "2")


def position_weight_cuts_then_skips(world: World) -> None:
    stage = Stage(world, lot="1")
    stage.follow(max_position_weight="0.03")
    # 3 % of 10,000 is 300
    assert stage.buys("50", "100") == ["ordered"]
    stage.expect_holding("3", "0", "3")
    assert stage.buys("10", "100") == ["max_position_weight"]
    execute_all(world)
    assert stage.buys("10", "100") == ["max_position_weight"]
    stage.expect_holding("3", "3")


def a_weight_of_many_times_a_large_equity_cuts_nothing(world: World) -> None:
    stage = Stage(world, lot="1")
    # 1,000 times 2 billion is more than any position is worth.
    stage.follow(cash="2000000000", mode="multiplier", ratio="0.1", max_position_weight="1000")
    assert stage.buys("50", "100") == ["ordered"]
    stage.expect_holding("5", "0", "5")


def the_first_limit_below_a_lot_is_named(world: World) -> None:
    stage = Stage(world, lot="1")
    stage.follow("both", max_order_notional="50", max_position_weight="0.001")
    stage.follow("weight", max_order_notional="100", max_position_weight="0.001")
    stage.follow("cut", max_order_notional="300", max_position_weight="0.02")
    assert stage.buys("50", "100") == ["max_order_notional", "max_position_weight", "ordered"]
    stage.expect_holding("2", "0", "2", account="cut")


def cash_cuts_at_the_limit_price(world: World) -> None:
    stage = Stage(world, lot="1")
    stage.follow(cash="1000", ratio="30")
    # 50 * 1,000 * 30 / 100,000 = 15 wanted; 1,000 / 100.5 = 9.95
    assert stage.buys("50", "100") == ["ordered"]
    stage.expect_order(BUY, "9", "100.5")
    stage.expect_holding("9", "0", "9")
    stage.expect_money("1000", "904.5")


def cash_is_reserved_by_open_buys(world: World) -> None:
    stage = Stage(world, lot="1")
    stage.follow(cash="1000", ratio="30")
    stage.buys("50", "100")
    # 1,000 - 904.5 = 95.5 is less than one at 100.5
    assert stage.buys("10", "100") == ["available_cash"]
    stage.expect_holding("9", "0", "9")
    order = stage.order()
    world.execute(order, qty("4"), usd("100"))
    # 600 in cash, 5 * 100.5 reserved
    stage.expect_money("600", "502.5")
    execute_all(world)
    stage.expect_money("100")
    assert stage.buys("10", "99") == ["ordered"]
    stage.expect_holding("10", "9", "1")
    stage.expect_money("100", "99.495")


def cash_that_just_suffices_is_spent(world: World) -> None:
    stage = Stage(world, lot="1")
    stage.follow("enough", cash="502.5", mode="multiplier", ratio="0.1")
    stage.follow("short", cash="502.499999", mode="multiplier", ratio="0.1")
    assert stage.buys("50", "100") == ["ordered", "ordered"]
    stage.expect_holding("5", "0", "5", account="enough")
    stage.expect_holding("4", "0", "4", account="short")


def shorts_need_their_notional_in_cash(world: World) -> None:
    stage = Stage(world, lot="1")
    stage.follow(cash="1000", ratio="30", allow_short=True)
    # 15 wanted; 1,000 / 100 = 10
    assert stage.sells("50", "100") == ["ordered"]
    stage.expect_order(SELL, "10", "99.5")
    stage.expect_holding("-10", "0", "-10")
    stage.expect_money("1000", "1000")


def proceeds_of_shorts_are_not_available(world: World) -> None:
    stage = Stage(world, lot="1")
    stage.follow(cash="1000", ratio="30", allow_short=True)
    stage.sells("50", "100")
    execute_all(world)
    stage.expect_money("2000")
    # 2,000 - 2 * 1,000 = 0, for shorts and longs alike
    assert stage.sells("10", "100") == ["available_cash"]
    stage.expect_holding("-10", "-10")
    assert stage.buys("10", "10", "BETA") == ["available_cash"]
    stage.expect_holding("0", "0", symbol="BETA")
    # 10 * 12 / 60 = 2 are covered for 200: 1,800 - 2 * 800 = 200
    stage.sells("10", "100")
    assert stage.buys("14", "100") == ["ordered"]
    execute_all(world)
    stage.expect_holding("-8", "-8")
    stage.expect_money("1800")
    # e = 1,800 - 800 = 1,000: 20 * 1,000 * 30 / 100,000 = 6 wanted, 200 / 50.25 = 3.98
    assert stage.buys("20", "50", "BETA") == ["ordered"]
    stage.expect_holding("3", "0", "3", symbol="BETA")


def exits_know_no_limits(world: World) -> None:
    stage = Stage(world, lot="1")
    stage.follow(max_order_notional="250", max_position_weight="0.03")
    stage.buys("50", "100")
    execute_all(world)
    # 2 * 1,000 is far above 250, and the fill is old
    assert stage.sells("50", "1000", age=3600 * SECOND) == ["ordered"]
    stage.expect_order(SELL, "2", "0", is_exit=True)


def entries_are_taken_for_sixty_seconds(world: World) -> None:
    stage = Stage(world)
    stage.follow()
    assert stage.buys("50", "100", age=60 * SECOND) == ["ordered"]
    stage.expect_holding("5", "0", "5")
    assert stage.buys("50", "100", age=60 * SECOND + 1) == ["entry_window"]
    stage.expect_holding("5", "0", "5")


def a_late_entry_is_named_before_its_size(world: World) -> None:
    stage = Stage(world, lot="1")
    stage.follow(max_order_notional="50")
    assert stage.buys("4", "100") == ["below_lot"]
    stage.expect_holding("0.4", "0")
    assert stage.buys("1", "100", age=61 * SECOND) == ["entry_window"]
    # It is too late for the carried remainder, too.
    stage.expect_holding("0", "0")


def a_creator_without_equity_is_not_followed(world: World) -> None:
    stage = Stage(world)
    stage.follow()
    stage.buys("2000", "100")
    execute_all(world)
    # -100,000 + 2,000 * 50 = 0
    assert stage.buys("10", "50") == ["creator_equity"]
    # 200 were wanted; 10,000 / 100.5 = 99.502
    stage.expect_holding("99.5", "99.5")
    assert stage.buys("10", "50", "BETA") == ["creator_equity"]
    assert stage.sells("201", "50") == ["ordered"]
    # 99.5 * 201 / 2,010 = 9.95
    stage.expect_holding("89.55", "99.5", "-9.95")


def a_creator_without_equity_skips_every_mode(world: World) -> None:
    stage = Stage(world)
    stage.buys("2000", "100")
    stage.follow("m", mode="multiplier")
    stage.follow("f", mode="fixed_amount", amount="100")
    assert stage.buys("10", "50") == ["creator_equity", "creator_equity"]


def a_subscription_without_equity_skips_every_increase(world: World) -> None:
    stage = Stage(world)
    stage.follow(mode="multiplier", ratio="0.1")
    stage.buys("50", "100")
    world.execute(stage.order(), qty("5"), usd("100"), fee=usd("10000"))
    # 10,000 - 500 - 10,000 + 5 * 100 = 0
    stage.expect_money("-500")
    assert stage.buys("10", "100") == ["subscription_equity"]
    # Named before the missing permission.
    assert stage.sells("10", "10", "BETA") == ["subscription_equity"]
    stage.expect_holding("5", "5")
    # ann holds 60 by now
    assert stage.sells("30", "100") == ["ordered"]
    stage.expect_holding("2.5", "5", "-2.5")


def creator_equity_is_named_first(world: World) -> None:
    stage = Stage(world)
    stage.follow(mode="multiplier", ratio="0.001")
    stage.buys("2000", "100")
    world.execute(stage.order(), qty("2"), usd("100"), fee=usd("10000"))
    world.mark("ACME", usd("50"))
    assert stage.sells("10", "10", "BETA") == ["creator_equity"]


def a_missing_permission_is_named_before_the_age(world: World) -> None:
    stage = Stage(world)
    stage.follow()
    assert stage.sells("10", "100", age=61 * SECOND) == ["short_not_allowed"]
    stage.expect_holding("0", "0")


def a_target_out_of_range_is_skipped(world: World) -> None:
    stage = Stage(world)
    stage.follow(mode="multiplier", ratio="1000")
    assert stage.buys("2000000", "0.01") == ["out_of_range"]
    stage.expect_holding("0", "0")


LIMITS: list[Scenario] = [
    order_notional_cuts,
    order_notional_skips_below_a_lot,
    order_notional_skips_below_the_minimum_notional,
    order_notional_sees_the_carried_remainder,
    an_uncut_order_keeps_its_remainder_under_a_limit,
    position_weight_cuts_then_skips,
    a_weight_of_many_times_a_large_equity_cuts_nothing,
    the_first_limit_below_a_lot_is_named,
    cash_cuts_at_the_limit_price,
    cash_is_reserved_by_open_buys,
    cash_that_just_suffices_is_spent,
    shorts_need_their_notional_in_cash,
    proceeds_of_shorts_are_not_available,
    exits_know_no_limits,
    entries_are_taken_for_sixty_seconds,
    a_late_entry_is_named_before_its_size,
    a_creator_without_equity_is_not_followed,
    a_creator_without_equity_skips_every_mode,
    a_subscription_without_equity_skips_every_increase,
    creator_equity_is_named_first,
    a_missing_permission_is_named_before_the_age,
    a_target_out_of_range_is_skipped,
]
