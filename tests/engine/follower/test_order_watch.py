"""The watch over open orders asks about those that their broker should have reported on by now, at
growing pauses, and about no others (P10).
"""

from functools import partial
from typing import NamedTuple

import numpy as np

from engine.follower.order_watch import OrderWatch
from engine.journal.events.orders import OrdersUnanswered
from engine.messages.blocks import ExecutionsReported
from engine.messages.commands import OpenAccount
from engine.values.order_status import ExecType
from engine.values.units import NS_PER_S
from tests.engine.world.engine_world import EngineWorld
from tests.reference.stage import Stage, tenth_stage
from tests.reference.values import Order
from tests.reference.world import execute_all

ANSWER_S = 30


class Asked(NamedTuple):
    """One order that was asked about."""

    account: str
    attempt: int
    is_first: bool
    cancels: bool


class Watching:
    """A world under watch. The watch looks at it every second that passes."""

    def __init__(self, answer_s: dict[str, int] | None = None) -> None:
        self.world = EngineWorld()
        own = {name: seconds * NS_PER_S for name, seconds in (answer_s or {}).items()}
        self.watch = OrderWatch(own, ANSWER_S * NS_PER_S)

    def pass_s(self, seconds: int) -> dict[int, list[Asked]]:
        """Let time pass. Returns: what is asked, by the second from now."""
        found = {}
        for second in range(1, seconds + 1):
            self.world.clock.time += NS_PER_S
            if asked := self.asked():
                found[second] = asked
        return found

    def asked(self) -> list[Asked]:
        """Look at the orders as they are now."""
        state = self.world.followers.live.state
        found = []
        for event in self.watch.ask(state, self.world.clock.time):
            for subscription, cancels in zip(
                event.subscriptions.tolist(), event.cancels.tolist(), strict=True
            ):
                book = state.books[int(state.places["book"][subscription])]
                row = int(state.places["row"][subscription])
                account = state.account_ids.text(int(book.subscriptions["account"][row]))
                is_first = bool(event.is_first)
                found.append(Asked(account, event.key.attempt, is_first, bool(cancels)))
        return found

    def holding(self) -> Stage:
        """Let bob hold 5."""
        stage = tenth_stage(self.world)
        stage.buys("50", "100")
        execute_all(self.world)
        return stage

    def reported_new(self, order: Order) -> ExecutionsReported:
        return self.world.broker_side.reported(order, ExecType.NEW)


def soon(seconds: int, found: dict[int, list[Asked]]) -> list[Asked]:
    """Return the first thing asked, which must be in time: the watch looks around every quarter of
    the time for an answer.
    """
    (first, asked), *_ = found.items()
    assert seconds <= first <= seconds + ANSWER_S // 2, found
    return asked


def test_an_entry_is_asked_about_once_it_has_expired_and_its_cancel_goes_with_it() -> None:
    watching = Watching()
    tenth_stage(watching.world).buys("50", "100")
    assert watching.pass_s(60 + ANSWER_S - 1) == {}
    asked = soon(1, watching.pass_s(ANSWER_S))
    assert asked == [Asked("bob", 0, is_first=True, cancels=True)]


def test_an_order_is_asked_about_again_after_pauses_that_double_up_to_an_hour() -> None:
    watching = Watching()
    watching.holding().sells("50", "100")
    times = list(watching.pass_s(4 * 3600))
    pauses = np.diff(times)
    assert len(times) > 8
    assert (pauses[1:6] >= 2 * pauses[:5] - ANSWER_S // 2).all()
    assert ((pauses[-2:] >= 3600) & (pauses[-2:] <= 3600 + ANSWER_S // 2)).all()


def test_an_exit_without_any_report_is_asked_about_and_is_not_cancelled() -> None:
    watching = Watching()
    watching.holding().sells("50", "100")
    assert watching.pass_s(ANSWER_S - 1) == {}
    assert soon(1, watching.pass_s(ANSWER_S)) == [Asked("bob", 0, is_first=True, cancels=False)]
    assert watching.watch.count == 1
    (again,) = watching.pass_s(3 * ANSWER_S).values()
    assert again == [Asked("bob", 0, is_first=False, cancels=False)]


def test_an_exit_that_the_broker_works_may_rest() -> None:
    for is_new in (True, False):
        watching = Watching()
        stage = watching.holding()
        stage.sells("50", "100")
        if is_new:
            watching.watch.note_new(
                watching.world.followers.live.state, watching.reported_new(stage.order())
            )
        else:
            watching.world.execute(stage.order(), 1, 10**8)
        assert watching.pass_s(20 * ANSWER_S) == {}
        # Its cancel must be answered all the same.
        stage.buys("50", "100")
        assert stage.order().is_cancelling
        asked = soon(ANSWER_S, watching.pass_s(2 * ANSWER_S))
        assert asked == [Asked("bob", 0, is_first=True, cancels=True)]


def test_an_order_that_the_broker_reported_on_in_time_is_not_asked_about() -> None:
    watching = Watching()
    stage = watching.holding()
    stage.sells("50", "100")
    assert watching.pass_s(ANSWER_S - 1) == {}
    execute_all(watching.world)
    assert watching.pass_s(20 * ANSWER_S) == {}
    assert watching.watch.count == 0


def test_only_the_rows_without_an_answer_are_asked_about() -> None:
    watching = Watching()
    stage = tenth_stage(watching.world)
    for account in ("carl", "dora"):
        stage.follow(account, mode="multiplier", ratio="0.1")
    stage.buys("50", "100")
    execute_all(watching.world)
    stage.sells("50", "100")
    (order,) = [each for each in watching.world.open_orders() if each.key.account == "carl"]
    watching.world.execute(order, order.remaining, order.price)
    asked = soon(ANSWER_S, watching.pass_s(2 * ANSWER_S))
    assert [each.account for each in asked] == ["bob", "dora"]


def test_each_broker_has_a_time_of_its_own() -> None:
    watching = Watching({"slow": 200})
    stage = tenth_stage(watching.world)
    watching.world.command([OpenAccount("open-carl", "carl", "paper")])
    watching.world.follower_side.brokers |= {"slow"}
    watching.world.command([OpenAccount("open-dora", "dora", "slow")])
    for account in ("carl", "dora"):
        stage.follow(account, mode="multiplier", ratio="0.1")
    stage.buys("50", "100")
    found = watching.pass_s(60 + 200 + ANSWER_S)
    first = {each.account: second for second, asked in reversed(found.items()) for each in asked}
    assert first["bob"] == first["carl"] <= 60 + 2 * ANSWER_S
    assert 260 < first["dora"] <= 260 + ANSWER_S


def test_orders_merged_with_later_ones_are_asked_about_once() -> None:
    watching = Watching()
    stage = tenth_stage(watching.world)
    stage.follow("carl", mode="multiplier", ratio="0.1")
    stage.buys("50", "100")
    execute_all(watching.world)
    stage.sells("50", "100")
    for order in watching.world.open_orders():
        watching.world.end(order, "rejected")
        # Each is tried again by itself, and joins the other in one group.
        watching.world.advance(NS_PER_S)
    asked = soon(ANSWER_S - 2, watching.pass_s(2 * ANSWER_S))
    assert sorted(each.account for each in asked) == ["bob", "carl"]


def test_what_does_not_fit_into_a_frame_is_asked_in_the_next() -> None:
    watching = Watching()
    stage = tenth_stage(watching.world)
    for _ in range(3):
        stage.buys("50", "100")
    assert watching.pass_s(60 + ANSWER_S // 2) == {}
    watching.world.clock.time += ANSWER_S * NS_PER_S
    state = watching.world.followers.live.state
    keys = []
    for _ in range(3):
        frame: list[OrdersUnanswered] = []
        is_full = partial(len, frame)
        for event in watching.watch.ask(state, watching.world.clock.time, is_full):
            frame += [event]
        keys += [event.key for event in frame]
        assert len(frame) == 1
    assert len(set(keys)) == 3
