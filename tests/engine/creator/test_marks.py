"""Whose marks value whom, live and after a restart (P6, P11)."""

from typing import Any

import pytest

from engine.creator.marks import check_source
from engine.creator.opening import open_creator
from engine.creator.shard import CreatorShard
from engine.journal.events.creator import BrokerMarksUpdated, MarksUpdated
from engine.journal.frame import ShardKey, ShardKind
from engine.messages.commands import OpenCreator
from engine.messages.inputs import FillInput, MarkInput
from engine.values.instruments import InstrumentTerms
from engine.values.refusals import Refused
from tests.engine.journaled import Journaled

NOW = 1_700_000_000 * 10**9
BROKERS = ("paper", "other")


class Marked:
    """A creator shard with the creators ann at `paper` and zoe at `other`, and one instrument.
    Every event is journaled.
    """

    def __init__(self) -> None:
        self.journaled = Journaled(
            ShardKey(ShardKind.CREATOR, 0), lambda: CreatorShard({}, InstrumentTerms(1, 0))
        )
        for creator, broker in (("ann", "paper"), ("zoe", "other")):
            command = OpenCreator(f"open-{creator}", creator, 10**12, broker)
            self.apply(open_creator(self.live, command, BROKERS).event)
        self.apply(self.live.decide_list(["ACME"]))

    @property
    def live(self) -> CreatorShard:
        return self.journaled.live

    def apply(self, event: Any) -> None:
        assert not isinstance(event, Refused), event
        if event is not None:
            self.live.apply_event(event)
            self.journaled.commit([event], NOW)
            self.journaled.check()

    def choose(self, source: str) -> None:
        self.apply(self.live.marks.decide_source(source))

    def mark(self, source: str, price: int, time: int = NOW) -> None:
        self.apply(self.live.decide_marks(source, [MarkInput("ACME", price, time)], NOW))

    def fill(self, creator: str, price: int, time: int = NOW) -> None:
        broker = "paper" if creator == "ann" else "other"
        name = f"fill-{len(self.journaled.frames)}"
        fill = FillInput(broker, creator, name, "ACME", 1, 10**8, price, time, 1)
        self.apply(self.live.decide_fill(fill, NOW))

    @property
    def prices(self) -> list[int]:
        """What values ann, and what values zoe."""
        return [self.live.marks.of(creator).prices_of([0])[0] for creator in self.live.creators]


def test_before_a_source_is_chosen_everything_values_everybody() -> None:
    """So journals of before the choice replay as they were decided."""
    marked = Marked()
    marked.mark("other", 7)
    assert marked.prices == [7, 7]
    marked.fill("zoe", 9)
    assert marked.prices == [9, 9]
    assert not [name for name in marked.live.columns() if name.startswith("mark.")]


def test_old_marks_count_for_every_broker_until_a_newer_one_of_it_comes() -> None:
    marked = Marked()
    marked.mark("paper", 7)
    marked.choose("")
    assert marked.prices == [7, 7]
    marked.mark("other", 5, NOW - 1)
    assert marked.prices == [7, 7], "an older mark changes nothing"
    marked.mark("other", 6)
    assert marked.prices == [7, 6]
    marked.fill("ann", 8, NOW - 1)
    assert marked.prices == [7, 6], "an older fill is no mark"
    marked.fill("ann", 8)
    assert marked.prices == [8, 6]


def test_a_creators_fill_counts_until_a_mark_comes_that_is_not_older() -> None:
    marked = Marked()
    marked.choose("")
    marked.mark("paper", 7, NOW - 9)
    marked.fill("ann", 8, NOW - 5)
    marked.mark("paper", 6, NOW - 6)
    assert marked.prices == [8, 0]
    marked.fill("ann", 4, NOW - 6)
    assert marked.prices == [8, 0], "her later fill counts"
    marked.mark("paper", 5, NOW - 5)
    assert marked.prices == [5, 0]
    marked.fill("zoe", 3)
    assert marked.prices == [5, 3]


@pytest.mark.parametrize("source", ["market_data", "other"])
def test_a_trusted_source_values_everybody_and_fills_their_creator(source: str) -> None:
    marked = Marked()
    marked.choose(source)
    marked.fill("zoe", 9, NOW - 2)
    assert marked.prices == [0, 9]
    marked.mark(source, 7, NOW - 2)
    assert marked.prices == [7, 7]
    marked.fill("zoe", 8, NOW - 1)
    assert marked.prices == [7, 8], "also where its broker is the source"
    marked.mark(source, 6, NOW - 1)
    assert marked.prices == [6, 6]


def test_what_counted_before_a_choice_counts_until_a_newer_mark() -> None:
    marked = Marked()
    marked.choose("")
    marked.mark("paper", 7)
    marked.mark("other", 8)
    marked.choose("market_data")
    assert marked.prices == [7, 8]
    marked.mark("market_data", 9, NOW - 1)
    assert marked.prices == [7, 8]
    marked.mark("market_data", 9)
    assert marked.prices == [9, 9]
    marked.choose("")
    marked.mark("paper", 5, NOW + 1)
    assert marked.prices == [5, 8], "of two marks of one time, the broker's"


def test_a_choice_is_journaled_once() -> None:
    marked = Marked()
    choice = marked.live.marks.decide_source("")
    assert choice is not None and choice.source == ""
    marked.apply(choice)
    assert marked.live.marks.decide_source("") is None
    assert marked.live.marks.decide_source("paper") is not None


def test_a_broker_without_a_mark_takes_no_room() -> None:
    marked = Marked()
    marked.choose("")
    symbols = [f"S{number}" for number in range(4_096)]
    marked.apply(marked.live.decide_list(symbols))
    marked.mark("paper", 7)
    marked.fill("zoe", 8)
    marked.mark("other", 9)
    assert len(marked.live.columns()["mark.price"]) == 2


@pytest.mark.parametrize(
    ("name", "source", "reason"),
    [
        ("paper", "", ""),
        ("ghost", "", "unknown_broker"),
        ("market_data", "", "unknown_broker"),
        ("market_data", "market_data", ""),
        ("paper", "market_data", "untrusted_source"),
        ("paper", "paper", ""),
        ("other", "paper", "untrusted_source"),
    ],
)
def test_marks_are_taken_of_the_trusted_source_or_of_configured_brokers(
    name: str, source: str, reason: str
) -> None:
    refused = check_source(name, source, BROKERS)
    assert (refused.reason if refused else "") == reason


def test_marks_of_a_broker_are_told_from_those_for_everybody() -> None:
    marked = Marked()
    mark = [MarkInput("ACME", 7, NOW)]
    marked.choose("")
    assert isinstance(marked.live.decide_marks("paper", mark, NOW), BrokerMarksUpdated)
    marked.choose("paper")
    assert isinstance(marked.live.decide_marks("paper", mark, NOW), MarksUpdated)
