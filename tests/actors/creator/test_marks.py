"""A creator shard takes marks of whom it trusts; all others become dead letters."""

from typing import Any

import msgspec
import pytest

from engine.journal.events.creator import BrokerMarksUpdated, MarkSourceChosen, MarksUpdated
from engine.journal.frame import ShardKey, ShardKind
from tests.actors.memory_shards import SETTINGS, TIME, MemoryShards, hash_of, turns

CREATOR = ShardKey(ShardKind.CREATOR, 0)


def trusting(source: str) -> MemoryShards:
    """Shards of a cluster with two brokers that trusts a source."""
    return MemoryShards(
        msgspec.structs.replace(SETTINGS, brokers=("paper", "other"), marks_source=source)
    )


def mark(symbol: str, price: str) -> list[dict[str, str]]:
    return [{"symbol": symbol, "px": price, "time": TIME}]


def dead_letters(shards: MemoryShards) -> list[dict[str, Any]]:
    return [msgspec.json.decode(each.data) for each in shards.server.stream("DEADLETTER").messages]


@pytest.mark.parametrize(
    ("source", "subject", "reason"),
    [
        ("", "marks.ghost", "unknown_broker"),
        ("", "marks.market_data", "unknown_broker"),
        ("market_data", "marks.paper", "untrusted_source"),
        ("other", "marks.paper", "untrusted_source"),
        ("other", "marks.ghost", "untrusted_source"),
    ],
)
async def test_marks_that_are_not_trusted_are_dead_letters_and_change_nothing(
    source: str, subject: str, reason: str
) -> None:
    shards = trusting(source)
    creator = await shards.creator()
    before = creator.state.columns()["instrument.mark"].tolist()
    await shards.publish(subject, mark("AAA", "10"))
    await turns(creator)
    (letter,) = dead_letters(shards)
    assert (letter["subject"], letter["sequence"], letter["reason"]) == (subject, 1, reason)
    assert subject in letter["error"]
    assert creator.state.columns()["instrument.mark"].tolist() == before
    assert creator.core.counts.inputs_refused == 1


@pytest.mark.parametrize(
    ("source", "kind"),
    [("", BrokerMarksUpdated), ("market_data", MarksUpdated), ("other", MarksUpdated)],
)
async def test_the_choice_is_journaled_before_the_first_mark_and_once(
    source: str, kind: type
) -> None:
    shards = trusting(source)
    creator = await shards.creator()
    for price in ("10", "11"):
        await shards.publish(f"marks.{source or 'paper'}", mark("AAA", price))
        await turns(creator)
    creator = await shards.creator()
    await shards.publish(f"marks.{source or 'paper'}", mark("AAA", "12"))
    await turns(creator)
    events = [event for frame in shards.frames(CREATOR) for event in frame]
    chosen = [event for event in events if isinstance(event, MarkSourceChosen)]
    assert [event.source for event in chosen] == [source]
    marks = shards.events(CREATOR, kind)
    assert [event.prices.tolist() for event in marks] == [[10**7], [11 * 10**6], [12 * 10**6]]
    kinds = [type(event) for event in events]
    assert kinds.index(MarkSourceChosen) < kinds.index(kind)
    assert not dead_letters(shards)


async def test_another_choice_holds_from_the_next_input_on_and_survives_a_crash() -> None:
    shards = trusting("")
    creator = await shards.creator()
    await shards.open_creator(creator, "anna")
    await shards.publish("fills.paper.anna", shards.fill("AAA"))
    await turns(creator)
    shards.settings = msgspec.structs.replace(shards.settings, marks_source="other")
    creator = await shards.creator()
    await turns(creator)
    assert creator.state.marks.source == "", "nothing was decided since"
    await shards.publish("marks.other", mark("AAA", "10"))
    await turns(creator)
    assert creator.state.marks.source == "other"
    assert creator.state.marks.of(creator.state.creators[0]).prices_of([0]) == [10**7]
    assert hash_of(await shards.creator()) == hash_of(creator)
