"""Scenarios: the sizes of legs, and the remainders that carry over. Unless said otherwise E =
100,000 and e = 10,000, so dt = L / 10.
"""

from tests.reference.book import SECOND
from tests.reference.stage import Scenario, Stage, qty, usd
from tests.reference.values import BUY, EXPIRED, SELL, SleeveTerms
from tests.reference.world import World, execute_all


def proportional_increase(world: World) -> None:
    stage = Stage(world)
    stage.follow()
    assert stage.buys("50", "100") == ["ordered"]
    stage.expect_order(BUY, "5", "100.5")
    stage.expect_holding("5", "0", "5")
    stage.expect_money("10000", "502.5")
    execute_all(world)
    stage.expect_holding("5", "5")
    stage.expect_money("9500")
    assert stage.holding().cost == usd("500")
    assert world.portfolio("ann").cash == usd("95000")
    assert world.portfolio("ann").positions["ACME"] == qty("50")


def proportional_is_floored_once(world: World) -> None:
    stage = Stage(world, lot="0.000001")
    stage.follow(cash="3333.33", ratio="0.77")
    # 7 * 3333.33 * 0.77 / 100000 = 0.179666487
    assert stage.buys("7", "100") == ["ordered"]
    stage.expect_holding("0.17966648", "0", "0.179666")


def equities_use_the_marks_of_everything_traded(world: World) -> None:
    stage = Stage(world)
    stage.follow()
    stage.buys("50", "100")
    execute_all(world)
    world.mark("ACME", usd("200"))
    # E = 95,000 + 50 * 200 = 105,000; e = 9,500 + 5 * 200 = 10,500
    assert stage.buys("21", "50", "BETA") == ["ordered"]
    stage.expect_holding("2.1", "0", "2.1", symbol="BETA")
    assert world.sleeve("bob", "ann").equity == usd("10500")
    # 95,000 - 21 * 50 = 93,950 in cash, 10,000 and 1,050 in instruments
    assert world.portfolio("ann").equity == usd("105000")


def a_fill_is_the_mark_of_its_own_symbol(world: World) -> None:
    stage = Stage(world)
    stage.buys("50", "100")
    stage.follow("cat", cash="11000")
    # E = 95,000 + 50 * 300 = 110,000, so dt = 10 * 11,000 / 110,000 = 1
    assert stage.buys("10", "300") == ["ordered"]
    stage.expect_holding("1", "0", "1", account="cat")


def a_mark_values_the_creators_of_its_broker_alone(world: World) -> None:
    stage = Stage(world)
    world.open_creator("zoe", cash=usd("100000"), broker="other")
    world.fill("zoe", "ACME", BUY, qty("50"), usd("100"))
    stage.follow()
    stage.buys("50", "100")
    execute_all(world)
    world.mark("ACME", usd("10"), source="other")
    # ann has 95,000 and 50 at 100 each, bob 9,500 and 5.
    assert stage.buys("20", "50", "BETA") == ["ordered"]
    stage.expect_holding("2", "0", "2", symbol="BETA")
    assert world.portfolio("ann").equity == usd("100000")
    assert world.portfolio("zoe").equity == usd("95500")
    world.mark("ACME", usd("200"), source="paper")
    assert world.portfolio("ann").equity == usd("105000")
    assert world.portfolio("zoe").equity == usd("95500")


def a_fills_price_values_its_creator_alone(world: World) -> None:
    stage = Stage(world)
    for creator, broker in (("zoe", "other"), ("eve", "paper")):
        world.open_creator(creator, cash=usd("100000"), broker=broker)
    stage.buys("50", "100")
    for creator in ("zoe", "eve"):
        world.fill(creator, "ACME", BUY, qty("1"), usd("300"))
    assert world.portfolio("ann").equity == usd("100000")
    world.mark("ACME", usd("90"), age=SECOND)
    assert world.portfolio("ann").equity == usd("100000"), "the mark is older than her fill"
    world.mark("ACME", usd("110"))
    assert world.portfolio("ann").equity == usd("100500")
    assert world.portfolio("eve").equity == usd("99810")
    assert world.portfolio("zoe").equity == usd("100000")
    world.fill("eve", "ACME", SELL, qty("1"), usd("400"))
    assert world.portfolio("ann").equity == usd("100500")


def a_trusted_source_marks_for_every_broker(world: World) -> None:
    stage = Stage(world)
    world.open_creator("zoe", cash=usd("100000"), broker="other")
    stage.buys("50", "100")
    world.fill("zoe", "ACME", BUY, qty("50"), usd("100"))
    world.mark("ACME", usd("90"), source="other")
    world.trust("paper")
    world.mark("ACME", usd("10"), source="other")
    # What counted before the choice counts until paper says something.
    assert world.portfolio("zoe").equity == usd("99500")
    world.mark("ACME", usd("120"), source="paper")
    assert [world.portfolio(name).equity for name in ("ann", "zoe")] == [usd("101000")] * 2
    world.fill("zoe", "ACME", BUY, qty("1"), usd("200"))
    assert world.portfolio("ann").equity == usd("101000")
    assert world.portfolio("zoe").equity == usd("105000")
    world.trust("")
    world.mark("ACME", usd("130"), source="paper")
    assert world.portfolio("ann").equity == usd("101500")
    assert world.portfolio("zoe").equity == usd("105000")


def multiplier_increase(world: World) -> None:
    stage = Stage(world)
    stage.follow(mode="multiplier", ratio="0.5")
    assert stage.buys("9.01", "100") == ["ordered"]
    stage.expect_holding("4.505", "0", "4.5")


def fixed_amount_of_a_fill_without_order(world: World) -> None:
    stage = Stage(world)
    stage.follow(mode="fixed_amount", amount="1000")
    assert stage.buys("50", "100") == ["ordered"]
    stage.expect_holding("10", "0", "10")
    execute_all(world)
    # 1,000 / 300 = 3.33333333
    assert stage.buys("2", "300") == ["ordered"]
    stage.expect_holding("13.33333333", "10", "3.33")


def fixed_amount_of_partial_fills_of_one_order(world: World) -> None:
    stage = Stage(world)
    stage.follow(mode="fixed_amount", amount="1000")
    assert stage.buys("20", "100", of="50") == ["ordered"]
    stage.expect_holding("4", "0", "4")
    assert stage.buys("30", "100", of="50") == ["ordered"]
    stage.expect_holding("10", "0", "10")


def decrease_takes_its_share(world: World) -> None:
    stage = Stage(world)
    stage.follow()
    stage.buys("50", "100")
    execute_all(world)
    # 5 * 20 / 50 = 2, at any equities
    assert stage.sells("20", "400") == ["ordered"]
    stage.expect_order(SELL, "2", "0", is_exit=True)
    stage.expect_holding("3", "5", "-2")
    stage.expect_money("9500")


def decrease_carries_what_lots_withhold(world: World) -> None:
    stage = Stage(world, lot="1")
    stage.follow()
    stage.buys("50", "100")
    execute_all(world)
    # 5 * 15 / 50 = 1.5
    assert stage.sells("15", "100") == ["ordered"]
    stage.expect_holding("3.5", "5", "-1")
    execute_all(world)
    # 3.5 * 5 / 35 = 0.5, and 0.5 were carried
    assert stage.sells("5", "100") == ["ordered"]
    stage.expect_holding("3", "4", "-1")


def decrease_under_a_lot_is_carried(world: World) -> None:
    stage = Stage(world, lot="1")
    stage.follow()
    stage.buys("50", "100")
    execute_all(world)
    assert stage.sells("5", "100") == ["below_lot"]
    stage.expect_holding("4.5", "5")


def decrease_without_a_position(world: World) -> None:
    stage = Stage(world)
    stage.buys("50", "100")
    stage.follow()
    assert stage.sells("20", "100") == ["no_position"]
    assert stage.sells("30", "100") == ["no_position"]
    stage.expect_holding("0", "0")


def decrease_lowers_a_carried_target_without_position(world: World) -> None:
    stage = Stage(world, lot="1")
    stage.follow()
    assert stage.buys("4", "100") == ["below_lot"]
    assert stage.sells("1", "100") == ["no_position"]
    # 0.4 * 1 / 4 = 0.1
    stage.expect_holding("0.3", "0")


def decrease_that_only_leaves_less_to_buy_orders_nothing(world: World) -> None:
    stage = Stage(world, lot="1")
    stage.follow()
    stage.buys("58", "100")
    execute_all(world)
    # t = 5.8, p = 5; 5.8 * 5 / 58 = 0.5 leaves t = 5.3, still above p
    assert stage.sells("5", "100") == ["below_lot"]
    stage.expect_holding("5.3", "5")


def flat_sells_everything_without_lots(world: World) -> None:
    stage = Stage(world, lot="1")
    stage.follow()
    stage.buys("50", "100")
    world.execute(stage.order(), qty("2.5"), usd("100"))
    world.end(stage.order(), EXPIRED)
    stage.expect_holding("2.5", "2.5")
    assert stage.sells("50", "100") == ["ordered"]
    stage.expect_order(SELL, "2.5", "0", is_exit=True)
    execute_all(world)
    stage.expect_holding("0", "0")
    assert stage.holding().cost == 0


def flat_forgets_a_carried_remainder(world: World) -> None:
    stage = Stage(world, lot="1")
    stage.follow()
    stage.buys("58", "100")
    execute_all(world)
    assert stage.sells("58", "100") == ["ordered"]
    execute_all(world)
    stage.expect_holding("0", "0")


def flat_after_an_exit_under_a_lot_sells_the_whole_rest(world: World) -> None:
    stage = Stage(world)
    stage.follow(mode="multiplier", ratio="0.1")
    stage.buys("50", "100")
    world.execute(stage.order(), qty("0.005"), usd("100"))
    world.end(stage.order(), EXPIRED)
    # t = p = 0.005; half of it is less than a lot
    assert stage.sells("25", "100") == ["below_lot"]
    stage.expect_holding("0.0025", "0.005")
    assert stage.sells("25", "100") == ["ordered"]
    stage.expect_order(SELL, "0.005", "0", is_exit=True)


def flat_counts_the_exits_already_open(world: World) -> None:
    stage = Stage(world)
    stage.follow()
    stage.buys("50", "100")
    execute_all(world)
    stage.sells("25", "100")
    assert stage.sells("25", "100") == ["ordered"]
    assert [order.quantity for order in world.open_orders()] == [qty("2.5"), qty("2.5")]
    execute_all(world)
    stage.expect_holding("0", "0")


def crossing_zero_with_permission(world: World) -> None:
    stage = Stage(world)
    stage.follow(allow_short=True)
    stage.buys("50", "100")
    execute_all(world)
    assert stage.sells("80", "100") == ["ordered", "ordered"]
    close, open_ = world.open_orders()
    assert (close.key.leg, close.side, close.quantity, close.limit_price) == (0, SELL, qty("5"), 0)
    assert (open_.key.leg, open_.side, open_.quantity, open_.limit_price) == (
        1,
        SELL,
        qty("3"),
        usd("99.5"),
    )
    assert (close.is_exit, open_.is_exit) == (True, False)
    stage.expect_holding("-3", "5", "-8")
    stage.expect_money("9500", "300")
    execute_all(world)
    stage.expect_holding("-3", "-3")
    stage.expect_money("10300")
    assert stage.holding().cost == usd("-300")
    assert world.portfolio("ann").positions["ACME"] == qty("-30")


def crossing_zero_without_permission(world: World) -> None:
    stage = Stage(world)
    stage.follow()
    stage.buys("50", "100")
    execute_all(world)
    assert stage.sells("80", "100") == ["ordered", "short_not_allowed"]
    execute_all(world)
    stage.expect_holding("0", "0")
    # Nothing to close when ann comes back, and a long is welcome again.
    assert stage.buys("40", "100") == ["no_position", "ordered"]
    stage.expect_holding("1", "0", "1")


def crossing_zero_upwards(world: World) -> None:
    stage = Stage(world)
    stage.follow(allow_short=True)
    assert stage.sells("30", "100") == ["ordered"]
    execute_all(world)
    assert stage.buys("50", "100") == ["ordered", "ordered"]
    stage.expect_holding("2", "-3", "5")
    # Only the entry of 2 reserves; the exit is a market order.
    stage.expect_money("10300", "201")
    execute_all(world)
    stage.expect_holding("2", "2")
    stage.expect_money("9800")
    assert stage.holding().cost == usd("200")


def crossing_zero_filled_in_the_other_order(world: World) -> None:
    stage = Stage(world)
    stage.follow(allow_short=True)
    stage.buys("50", "100")
    execute_all(world)
    stage.sells("80", "100")
    close, open_ = world.open_orders()
    world.execute(open_, qty("3"), usd("100"))
    stage.expect_holding("-3", "2", "-5")
    # Across zero: 2 close, 3 open at 101.
    world.execute(close, qty("5"), usd("101"))
    stage.expect_holding("-3", "-3")
    stage.expect_money("10305")
    assert stage.holding().cost == usd("-303")


def a_remainder_is_carried_over_several_fills(world: World) -> None:
    stage = Stage(world, lot="1")
    stage.follow()
    assert stage.buys("4", "100") == ["below_lot"]
    assert stage.buys("4", "100") == ["below_lot"]
    stage.expect_holding("0.8", "0")
    assert stage.buys("4", "100") == ["ordered"]
    stage.expect_holding("1.2", "0", "1")
    execute_all(world)
    assert stage.buys("4", "100") == ["below_lot"]
    assert stage.buys("4", "100") == ["ordered"]
    stage.expect_holding("2", "1", "1")


def less_than_the_minimum_notional_is_carried(world: World) -> None:
    stage = Stage(world)
    stage.follow()
    assert stage.buys("5", "1") == ["below_min_notional"]
    stage.expect_holding("0.5", "0")
    assert stage.buys("5", "1") == ["ordered"]
    stage.expect_holding("1", "0", "1")


def an_exit_has_no_minimum_notional(world: World) -> None:
    stage = Stage(world)
    stage.follow()
    stage.buys("20", "1")
    execute_all(world)
    assert stage.sells("1", "1") == ["ordered"]
    stage.expect_order(SELL, "0.1", "0", is_exit=True)


def costs_round_against_the_follower(world: World) -> None:
    stage = Stage(world, lot="0.000001")
    stage.follow(mode="multiplier", ratio="0.333333")
    stage.buys("1", "100.00001")
    # 0.333333 * 100.00001 = 33.33330333333
    execute_all(world)
    stage.expect_money("9966.666696")
    assert stage.holding().cost == usd("33.333304")
    stage.sells("1", "100.00001")
    execute_all(world)
    stage.expect_money("9999.999999")


def cost_basis_leaves_in_proportion(world: World) -> None:
    stage = Stage(world)
    stage.follow(mode="multiplier", ratio="0.1")
    stage.buys("50", "100")
    execute_all(world)
    stage.buys("50", "110")
    execute_all(world)
    assert stage.holding().cost == usd("1050")
    stage.sells("40", "200")
    execute_all(world)
    # 1,050 * 4 / 10 = 420
    assert stage.holding().cost == usd("630")


def limit_prices_round_toward_the_price(world: World) -> None:
    stage = Stage(world)
    stage.follow(mode="multiplier", allow_short=True)
    # 1.00015 * 1.005 = 1.00515075 and 1.00015 * 0.995 = 0.99514925
    stage.buys("10", "1.00015")
    stage.expect_order(BUY, "10", "1.00515")
    execute_all(world)
    stage.sells("10", "1.00015")
    execute_all(world)
    stage.sells("10", "1.00015")
    stage.expect_order(SELL, "10", "0.99515")


def accounts_are_decided_in_the_order_of_following(world: World) -> None:
    stage = Stage(world)
    stage.follow("zoe")
    stage.follow("bob", cash="5")
    stage.follow("cat", cash="20000")
    assert stage.buys("50", "100") == ["ordered", "below_lot", "ordered"]
    stage.expect_holding("5", "0", "5", account="zoe")
    stage.expect_holding("0.0025", "0", account="bob")
    stage.expect_holding("10", "0", "10", account="cat")


def one_account_keeps_its_sleeves_apart(world: World) -> None:
    stage = Stage(world)
    world.open_creator("eve", cash=usd("50000"))
    stage.follow()
    world.follow("bob", "eve", SleeveTerms(cash=usd("1000")))
    stage.buys("50", "100")
    world.fill("eve", "ACME", BUY, qty("50"), usd("100"))
    # 50 * 1,000 / 50,000 = 1
    assert world.position("bob", "eve", "ACME").target == qty("1")
    assert world.sleeve("bob", "eve").reserved == usd("100.5")
    stage.expect_money("10000", "502.5")


SIZING: list[Scenario] = [
    proportional_increase,
    proportional_is_floored_once,
    equities_use_the_marks_of_everything_traded,
    a_fill_is_the_mark_of_its_own_symbol,
    a_mark_values_the_creators_of_its_broker_alone,
    a_fills_price_values_its_creator_alone,
    a_trusted_source_marks_for_every_broker,
    multiplier_increase,
    fixed_amount_of_a_fill_without_order,
    fixed_amount_of_partial_fills_of_one_order,
    decrease_takes_its_share,
    decrease_carries_what_lots_withhold,
    decrease_under_a_lot_is_carried,
    decrease_without_a_position,
    decrease_lowers_a_carried_target_without_position,
    decrease_that_only_leaves_less_to_buy_orders_nothing,
    flat_sells_everything_without_lots,
    flat_forgets_a_carried_remainder,
    flat_after_an_exit_under_a_lot_sells_the_whole_rest,
    flat_counts_the_exits_already_open,
    crossing_zero_with_permission,
    crossing_zero_without_permission,
    crossing_zero_upwards,
    crossing_zero_filled_in_the_other_order,
    a_remainder_is_carried_over_several_fills,
    less_than_the_minimum_notional_is_carried,
    an_exit_has_no_minimum_notional,
    costs_round_against_the_follower,
    cost_basis_leaves_in_proportion,
    limit_prices_round_toward_the_price,
    accounts_are_decided_in_the_order_of_following,
    one_account_keeps_its_sleeves_apart,
]
