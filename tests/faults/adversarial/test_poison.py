"""An input that crashes its shard every time is quarantined. Its neighbours are untouched and
nothing is half applied (P1 to P8, by the last audit).
"""

import random
from pathlib import Path
from typing import Any

import pytest

from engine.journal.events.creator import (
    CreatorSuspended,
    FillApplied,
)
from engine.journal.frame import ShardKind
from tests.faults.adversarial.deadly import POISON
from tests.faults.adversarial.poison_stories import (
    CREATOR,
    FOLLOWER,
    MARK_TIME,
    Publish,
    applied_fills,
    bad_executions,
    bad_fill,
    bad_fill_among_others,
    bad_marks,
    told,
)
from tests.faults.adversarial.poisoned import Poisoned, poisoned


@pytest.mark.parametrize("kills", [False, True], ids=["raises", "kills"])
@pytest.mark.parametrize(
    ("poison", "kind", "is_creators"),
    [(bad_fill, CREATOR, True), (bad_marks, CREATOR, False), (bad_executions, FOLLOWER, False)],
)
async def test_all_other_inputs_are_applied_as_if_the_poison_had_not_come(
    poison: Publish, kind: ShardKind, is_creators: bool, kills: bool, tmp_path: Path
) -> None:
    """P4, P6: the twin never saw the poison; both end alike. The audit replays each of them."""
    found = await told(tmp_path / "found", poison, kills=kills)
    twin = await told(tmp_path / "twin", None, kills=kills)
    (quarantined,) = found.quarantined(kind)
    assert found.deadly.count <= found.settings.poison_crashes + 1
    assert quarantined.tries == 2
    (letter,) = found.letters()
    assert letter["reason"] == "poison"
    assert letter["sequence"] == quarantined.sequence
    assert applied_fills(found) == applied_fills(twin)
    assert found.holdings() == twin.holdings()
    suspended = found.events(CREATOR, CreatorSuspended)
    assert [event.sequence for event in suspended] == (
        [quarantined.sequence] if is_creators else []
    )


Message = tuple[str, str, str, str]
"""Creator, symbol, side, quantity; marks where there is no creator."""


async def random_story(cluster: Poisoned, messages: list[Message], poison_at: int | None) -> None:
    """Publish fills and marks one by one, one of them poison, and what follows the poison right
    behind it.
    """
    await cluster.open()
    for number, (creator, symbol, side, quantity) in enumerate(messages):
        is_poison = number == poison_at
        if creator:
            exec_id = "poison-fill" if is_poison else f"fill-{number}"
            fill = {**cluster.fill(symbol, side, quantity), "exec_id": exec_id}
            await cluster.publish(f"fills.paper.{creator}", fill)
        else:
            named = "POISON-MARK" if is_poison else symbol
            await cluster.publish(
                "marks.paper", [{"symbol": named, "px": quantity, "time": MARK_TIME}]
            )
        if not is_poison:
            await cluster.drained()


@pytest.mark.parametrize("seed", range(4))
async def test_all_other_inputs_are_applied_whichever_one_is_poison(
    seed: int, tmp_path: Path
) -> None:
    """P2, P4, P6, P7: the twin never saw the poison. What a suspended creator's followers hold is
    less by the entries not copied.
    """
    chance = random.Random(seed)
    messages: list[Message] = [
        (
            chance.choice(("anna", "bert", "")),
            f"S{chance.randrange(3)}",
            chance.choice(("buy", "buy", "sell")),
            str(chance.choice((20, 50, 90))),
        )
        for _ in range(8)
    ]
    at, kills = chance.randrange(1, 8), seed % 2 == 0
    async with poisoned(tmp_path / "found", kills=kills) as found:
        await random_story(found, messages, at)
    async with poisoned(tmp_path / "twin", kills=kills) as twin:
        await random_story(twin, messages[:at] + messages[at + 1 :], None)
    assert len(found.quarantined(CREATOR)) == 1
    assert applied_fills(found) == applied_fills(twin)
    suspended = messages[at][0]
    held, expected = (
        {where: what for where, what in each.holdings().items() if where[1] != suspended}
        for each in (found, twin)
    )
    assert held == expected


@pytest.mark.parametrize("kills", [False, True], ids=["raises", "kills"])
async def test_one_poison_fill_of_a_message_is_quarantined_and_the_others_count(
    kills: bool, tmp_path: Path
) -> None:
    found = await told(tmp_path, bad_fill_among_others, kills=kills)
    (quarantined,) = found.quarantined(CREATOR)
    assert quarantined.position == 1
    assert [fill.quantity for fill in found.events(CREATOR, FillApplied)].count(10**8) == 2
    assert POISON not in {symbol for _, _, symbol in found.holdings()}


@pytest.mark.parametrize("kills", [False, True], ids=["raises", "kills"])
@pytest.mark.parametrize(
    ("subject", "body"),
    [
        (
            "commands.creator.carl",
            {"type": "open_creator", "cash": "1", "command_id": "poison-command"},
        ),
        (
            "commands.account.zoe",
            {"type": "open_account", "broker": "poison-broker", "command_id": "zoe-1"},
        ),
    ],
)
async def test_a_poison_command_sent_again_and_again_is_refused_for_ever(
    subject: str, body: dict[str, Any], kills: bool, tmp_path: Path
) -> None:
    async with poisoned(tmp_path, kills=kills) as cluster:
        await cluster.open(accounts=2)
        for _ in range(2):
            answer = await cluster.command(subject, **body)
            assert (answer["ok"], answer["reason"]) == (False, "poison")
            await cluster.kill("creator")
            await cluster.kill("follower")
        assert cluster.deadly.count == cluster.settings.poison_crashes + 1
        good = {**body, "command_id": "good-1", "broker": "paper"}
        assert (await cluster.command(subject, **good))["ok"]


async def test_p8_quarantined_executions_are_named_by_the_audit_and_count_once_when_published_again(
    tmp_path: Path,
) -> None:
    """P8: what the broker did is not applied, and the audit says so; under its own ids it is
    applied once, whenever it comes again.
    """
    async with poisoned(tmp_path / "first", kills=False) as cluster:
        await cluster.open(accounts=4)
        await cluster.drained()
        cluster.deadly.reports_are_poison = True
        await cluster.publish("fills.paper.anna", cluster.fill("AAA", "buy", "100"))
        stream = cluster.server.stream("EXECUTIONS")
        await cluster.until(lambda: bool(stream.messages), "executions")
        await cluster.drained()
        assert len(cluster.quarantined(FOLLOWER)) == len(stream.messages)
        cluster.deadly.reports_are_poison = False
        await cluster.publish("fills.paper.bert", cluster.fill("BBB", "buy", "50"))
        await cluster.drained()
        assert {held[1] for (_, who, _), held in cluster.holdings().items() if who == "anna"} == {0}
        assert {
            held[1] > 0 for (_, who, _), held in cluster.holdings().items() if who == "bert"
        } == {True}
        report = await cluster.audit(tmp_path / "parked")
        assert report.passed, "\n".join(report.lines())
        assert report["P8"].counts["quarantined"] == 4
        assert any("positions may differ" in note for note in report.notes)
        for _ in range(2):
            for quarantined in cluster.quarantined(FOLLOWER):
                stream.store(
                    quarantined.subject,
                    stream.messages[quarantined.sequence - 1].data,
                    f"again-{len(stream.messages)}",
                )
            await cluster.drained()
            assert {held[0] == held[1] > 0 for held in cluster.holdings().values()} == {True}
