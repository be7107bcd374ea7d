"""The creator shard: which fills count, once, and what a signal says of the market."""

from typing import Any

import msgspec
import pytest

from engine.creator.command_outcome import CommandOutcome
from engine.creator.fills import FILL_AHEAD_NS_MAX, FILL_HORIZON_NS
from engine.creator.opening import open_creator
from engine.creator.shard import CreatorShard
from engine.follower.sizing.legs import Leg, legs, legs_of
from engine.journal.events.creator import CreatorsOpened, FillApplied
from engine.journal.frame import ShardKey, ShardKind
from engine.messages.answers import CreatorOpened
from engine.messages.commands import OpenCreator
from engine.messages.inputs import FillInput, MarkInput
from engine.values.instruments import InstrumentTerms
from engine.values.refusals import Refused
from tests.engine.journaled import Journaled

NOW = 1_700_000_000 * 10**9
DAY = 24 * 3600 * 10**9


class JournaledCreator:
    """A creator shard with the creator ann at the broker paper, who has 1,000 in cash, journaled
    event by event.
    """

    def __init__(self) -> None:
        self.journaled = Journaled(
            ShardKey(ShardKind.CREATOR, 0),
            lambda: CreatorShard({"ACME": InstrumentTerms(100, 1)}, InstrumentTerms(7, 2)),
        )
        self.now = NOW
        self.apply(self.live.marks.decide_source(""))
        self.apply(self.open("open-ann", "ann", 1_000_000_000).event)
        self.apply(self.live.decide_list(["ACME", "BETA", "ACME"]))

    @property
    def live(self) -> CreatorShard:
        return self.journaled.live

    def open(self, command_id: str, creator_id: str, cash: int) -> CommandOutcome:
        command = OpenCreator(command_id, creator_id, cash, "paper")
        return open_creator(self.live, command, ("paper",))

    def apply(self, event: Any) -> Any:
        assert event is not None
        assert not isinstance(event, Refused), event
        self.live.apply_event(event)
        self.journaled.commit([event], self.now)
        self.journaled.check()
        return event

    def decide(self, fill: FillInput) -> Any:
        return self.live.decide_fill(fill, self.now)

    def refusal(self, fill: FillInput) -> str:
        refused = self.decide(fill)
        assert isinstance(refused, Refused)
        return refused.reason

    def mark_of(self, number: int) -> int:
        return self.live.marks.of(self.live.creators[0]).prices_of([number])[0]


def fill(exec_id: str = "e1", **changes: Any) -> FillInput:
    first = FillInput("paper", "ann", exec_id, "ACME", 1, 10**8, 100_000_000, NOW, 1)
    return msgspec.structs.replace(first, **changes)


def test_a_fill_counts_once() -> None:
    shard = JournaledCreator()
    assert isinstance(shard.apply(shard.decide(fill())), FillApplied)
    assert shard.decide(fill()) is None
    assert shard.decide(fill(sequence=9, transact_time=NOW + 5, price=7)) is None
    assert isinstance(shard.decide(fill("e2")), FillApplied)


def test_a_fill_counts_once_over_the_whole_horizon_and_after_recovery() -> None:
    shard = JournaledCreator()
    shard.apply(shard.decide(fill()))
    shard.journaled.take_snapshot()
    shard.now = NOW + FILL_HORIZON_NS
    shard.apply(shard.decide(fill("later", transact_time=shard.now)))
    assert shard.decide(fill()) is None
    shard.journaled.live_from_snapshot()
    assert shard.decide(fill()) is None
    shard.now += DAY
    shard.apply(shard.decide(fill("latest", transact_time=shard.now)))
    assert shard.refusal(fill("other")) == "too_old"


def test_a_repeated_fill_beyond_the_horizon_is_refused_for_its_age() -> None:
    shard = JournaledCreator()
    shard.apply(shard.decide(fill()))
    shard.now = NOW + FILL_HORIZON_NS + 2 * DAY
    shard.apply(shard.decide(fill("later", transact_time=shard.now)))
    assert shard.refusal(fill()) == "too_old"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"transact_time": NOW + FILL_AHEAD_NS_MAX + 1}, "time_ahead"),
        ({"transact_time": NOW - FILL_HORIZON_NS - 1}, "too_old"),
        ({"creator_id": "eve"}, "unknown_creator"),
        ({"broker": "other"}, "wrong_broker"),
        ({"position_after": 2 * 10**8}, "position_mismatch"),
        ({"quantity": 10**17, "price": 10**13}, "out_of_range"),
        ({"quantity": 10**17 + 1, "price": 1}, "out_of_range"),
    ],
)
def test_impossible_fills_are_refused_with_their_reason(
    changes: dict[str, Any], reason: str
) -> None:
    assert JournaledCreator().refusal(fill(**changes)) == reason


@pytest.mark.parametrize(
    "changes",
    [
        {"transact_time": NOW + FILL_AHEAD_NS_MAX},
        {"transact_time": NOW - FILL_HORIZON_NS},
        {"position_after": 10**8},
        {"side": -1, "position_after": -(10**8)},
    ],
)
def test_fills_at_the_ends_of_what_is_allowed(changes: dict[str, Any]) -> None:
    assert isinstance(JournaledCreator().decide(fill(**changes)), FillApplied)


def test_a_signal_carries_equity_before_the_fill_at_the_fills_price() -> None:
    shard = JournaledCreator()
    shard.apply(shard.decide(fill()))
    shard.apply(
        shard.live.decide_marks(
            "paper", [MarkInput("ACME", 150_000_000, NOW), MarkInput("BETA", 5, NOW)], NOW
        )
    )
    event = shard.apply(shard.decide(fill("e2", price=200_000_000)))
    # 900 in cash and one at the fill's 200, though the mark says 150.
    assert event.equity == 1_100_000_000
    assert (event.mark_instruments.tolist(), event.mark_prices.tolist()) == ([0], [200_000_000])
    other = shard.apply(shard.decide(fill("e3", symbol="BETA", price=50_000_000)))
    # 700 in cash and two at the mark, which is the last fill's 200.
    assert other.equity == 1_100_000_000
    assert other.mark_prices.tolist() == [200_000_000, 50_000_000]
    assert other.signal == event.signal + 1


def test_a_mark_from_the_future_is_refused_and_later_ones_still_count() -> None:
    shard = JournaledCreator()
    ahead = NOW + FILL_AHEAD_NS_MAX
    refused = shard.live.decide_marks(
        "paper", [MarkInput("ACME", 5, NOW), MarkInput("ACME", 6, ahead + 1)], NOW
    )
    assert isinstance(refused, Refused) and refused.reason == "time_ahead"
    assert refused.text.startswith("element 1: time: expected at most 5 s ahead")
    alone = shard.live.decide_marks("paper", [MarkInput("ACME", 6, ahead + 1)], NOW)
    assert isinstance(alone, Refused) and alone.text.startswith("time: ")
    shard.apply(shard.live.decide_marks("paper", [MarkInput("ACME", 5, NOW)], NOW))
    assert shard.mark_of(0) == 5
    shard.apply(shard.live.decide_marks("paper", [MarkInput("ACME", 6, ahead)], NOW))
    assert shard.mark_of(0) == 6


def test_older_marks_change_nothing() -> None:
    shard = JournaledCreator()
    shard.apply(
        shard.live.decide_marks(
            "paper",
            [MarkInput("ACME", 5, NOW), MarkInput("ACME", 4, NOW - 1), MarkInput("BETA", 9, 1)],
            NOW,
        )
    )
    assert [shard.mark_of(0), shard.mark_of(1)] == [5, 9]
    assert shard.live.decide_marks("paper", [MarkInput("ACME", 3, NOW - 1)], NOW) is None
    shard.apply(
        shard.live.decide_marks(
            "paper", [MarkInput("ACME", 6, NOW), MarkInput("ACME", 7, NOW)], NOW
        )
    )
    assert shard.mark_of(0) == 7
    shard.apply(shard.decide(fill(price=8, transact_time=NOW - 1)))
    assert shard.mark_of(0) == 7
    shard.apply(shard.decide(fill("e2", price=8)))
    assert shard.mark_of(0) == 8


def test_a_buy_pays_rounded_up_and_a_sell_receives_rounded_down() -> None:
    shard = JournaledCreator()
    shard.apply(shard.decide(fill(quantity=1, price=1)))
    assert shard.live.creators[0].cash == 999_999_999
    shard.apply(shard.decide(fill("e2", quantity=1, price=1, side=-1)))
    assert shard.live.creators[0].cash == 999_999_999


def test_crossing_zero_is_a_close_and_an_open() -> None:
    assert legs(50, -1, 80) == (Leg(0, -1, 50, False, 50, 0), Leg(1, -1, 30, True, 0, 30))
    assert legs(-50, 1, 50) == (Leg(0, 1, 50, False, 50, 0),)
    assert legs(-50, 1, 20) == (Leg(0, 1, 20, False, 50, 30),)
    assert legs(-50, -1, 20) == (Leg(0, -1, 20, True, 50, 70),)
    assert legs(0, -1, 20) == (Leg(0, -1, 20, True, 0, 20),)
    shard = JournaledCreator()
    shard.apply(shard.decide(fill()))
    event = shard.apply(shard.decide(fill("e2", side=-1, quantity=3 * 10**8)))
    assert [leg.quantity for leg in legs_of(event)] == [10**8, 2 * 10**8]
    assert (event.position_before, event.position_after) == (10**8, -2 * 10**8)


def test_a_second_opening_of_a_creator_is_refused() -> None:
    shard = JournaledCreator()
    assert shard.open("open-ann", "ann", 1) == CommandOutcome(CreatorOpened("ann"))
    refused = shard.open("another", "ann", 1_000_000_000).answer
    assert isinstance(refused, Refused)
    assert refused.reason == "creator_exists"
    assert isinstance(shard.open("c", "bob", -1).answer, Refused)
    assert isinstance(shard.open("c", "bob", 0).event, CreatorsOpened)


def test_an_instrument_keeps_the_terms_it_was_listed_with() -> None:
    shard = JournaledCreator()
    state = shard.live.columns()
    assert state["instrument.lot"].tolist() == [100, 7]
    assert state["instrument.min_notional"].tolist() == [1, 2]
    assert shard.live.decide_list(["BETA", "ACME"]) is None
