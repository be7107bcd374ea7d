"""Scenarios: the end of a subscription. The follower takes a tenth of every leg."""

from tests.reference.book import SECOND
from tests.reference.stage import Scenario, qty, tenth_stage, usd
from tests.reference.values import BUY, CANCELED, EXPIRED, SELL
from tests.reference.world import World, execute_all


def unfollow_closes_everything(world: World) -> None:
    stage = tenth_stage(world)
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
    stage = tenth_stage(world)
    world.unfollow("bob", "ann")
    assert world.sleeve("bob", "ann").status == "ended"
    assert stage.buys("50", "100") == []


def unfollow_cancels_open_entries_first(world: World) -> None:
    stage = tenth_stage(world)
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
    stage = tenth_stage(world)
    stage.buys("50", "100")
    world.unfollow("bob", "ann")
    assert world.sleeve("bob", "ann").status == "ending"
    world.end(stage.order(), CANCELED)
    assert world.sleeve("bob", "ann").status == "ended"
    stage.expect_money("10000")


def unfollow_counts_the_exits_already_open(world: World) -> None:
    stage = tenth_stage(world)
    stage.buys("50", "100")
    execute_all(world)
    stage.sells("25", "100")
    world.unfollow("bob", "ann")
    assert sorted(order.quantity for order in world.open_orders()) == [qty("2.5"), qty("2.5")]
    execute_all(world)
    assert world.sleeve("bob", "ann").status == "ended"


def unfollow_tries_its_exits_again(world: World) -> None:
    stage = tenth_stage(world, allow_short=True)
    stage.sells("50", "100")
    execute_all(world)
    world.unfollow("bob", "ann")
    world.end(stage.expect_order(BUY, "5", "0", is_exit=True), EXPIRED)
    assert world.sleeve("bob", "ann").status == "ending"
    world.advance(SECOND)
    stage.expect_order(BUY, "5", "0", is_exit=True, attempt=1)
    execute_all(world)
    assert world.sleeve("bob", "ann").status == "ended"


UNFOLLOWING: list[Scenario] = [
    unfollow_closes_everything,
    unfollow_without_positions_ends_at_once,
    unfollow_cancels_open_entries_first,
    unfollow_ends_after_an_unfilled_entry_is_cancelled,
    unfollow_counts_the_exits_already_open,
    unfollow_tries_its_exits_again,
]
