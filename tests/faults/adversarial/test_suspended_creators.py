"""A creator with a quarantined input is suspended: exits go on, entries wait for an operator (P1 to
P8, by the last audit).
"""

from pathlib import Path

import pytest

from engine.journal.events.creator import (
    CreatorResumed,
    FillApplied,
)
from engine.journal.events.orders import SignalDecided
from engine.values.dispositions import Disposition
from tests.faults.adversarial.poison_stories import (
    CREATOR,
    FOLLOWER,
    bad_fill,
    bad_fill_among_others,
    last_dispositions,
    story,
)
from tests.faults.adversarial.poisoned import Poisoned, poisoned


async def lethal_entry(cluster: Poisoned) -> None:
    await cluster.publish("fills.paper.anna", cluster.fill("LETHAL", "buy", "10"))


@pytest.mark.parametrize("kills", [False, True], ids=["raises", "kills"])
async def test_a_poison_signal_moves_nothing_and_suspends_its_creators_entries(
    kills: bool, tmp_path: Path
) -> None:
    """P2: every subscription has one disposition for it. Other creators go on, and so do exits,
    until the creator is resumed.
    """
    async with poisoned(tmp_path, kills=kills) as cluster:
        await story(cluster, lethal_entry)
        assert {quarantined.source for quarantined in cluster.quarantined(FOLLOWER)} == {2}
        by_signal: dict[int, list[int]] = {}
        for event in cluster.events(FOLLOWER, SignalDecided):
            by_signal.setdefault(event.signal, []).extend(event.dispositions.tolist())
        signals = {fill.signal: fill for fill in cluster.events(CREATOR, FillApplied)}
        (lethal,) = [signal for signal, fill in signals.items() if fill.quantity == 10 * 10**8]
        assert by_signal[lethal] == [Disposition.CREATOR_SUSPENDED] * 8
        sold = next(number for number, fill in signals.items() if fill.quantity == 30 * 10**8)
        assert set(by_signal[sold]) == {Disposition.ORDERED}
        await cluster.publish("fills.paper.anna", cluster.fill("AAA", "buy", "10"))
        await cluster.drained()
        assert last_dispositions(cluster) == {Disposition.CREATOR_SUSPENDED}
        answer = await cluster.command(
            "commands.creator.anna", type="resume_creator", action="void"
        )
        assert (answer["ok"], answer["parked"]) == (True, 0)
        await cluster.publish("fills.paper.anna", cluster.fill("AAA", "buy", "10"))
        await cluster.drained()
        assert last_dispositions(cluster) == {Disposition.ORDERED}


async def test_a_suspended_creators_fills_count_and_only_its_exits_are_copied(
    tmp_path: Path,
) -> None:
    async with poisoned(tmp_path, kills=False) as cluster:
        await story(cluster, bad_fill)
        before = cluster.holdings()
        await cluster.publish("fills.paper.anna", cluster.fill("AAA", "buy", "40"))
        await cluster.drained()
        assert cluster.events(CREATOR, FillApplied)[-1].position_after == 110 * 10**8
        assert last_dispositions(cluster) == {Disposition.CREATOR_SUSPENDED}
        assert cluster.holdings() == before
        await cluster.publish("fills.paper.anna", cluster.fill("AAA", "sell", "110"))
        await cluster.drained()
        assert last_dispositions(cluster) == {Disposition.ORDERED}
        assert {held[1] for (_, who, _), held in cluster.holdings().items() if who == "anna"} == {0}


@pytest.mark.parametrize("action", ["replay", "void"])
async def test_a_quarantined_fill_can_be_replayed_or_voided_once_its_cause_is_gone(
    action: str, tmp_path: Path
) -> None:
    async with poisoned(tmp_path, kills=False) as cluster:
        await story(cluster, bad_fill_among_others)
        cluster.deadly.strike = lambda kind: None  # type: ignore[method-assign]
        for _ in range(2):
            answer = await cluster.command(
                "commands.creator.anna", command_id="resume-1", type="resume_creator", action=action
            )
            assert (answer["ok"], answer["parked"]) == (True, 1)
        await cluster.drained()
        assert len(cluster.events(CREATOR, CreatorResumed)) == 1
        symbols = [fill.quantity for fill in cluster.events(CREATOR, FillApplied)]
        assert symbols.count(10**8) == (3 if action == "replay" else 2)
        if action == "replay":
            assert last_dispositions(cluster) <= {
                Disposition.ORDERED,
                Disposition.BELOW_MIN_NOTIONAL,
            }
        await cluster.publish("fills.paper.anna", cluster.fill("AAA", "buy", "10"))
        await cluster.drained()
        assert last_dispositions(cluster) == {Disposition.ORDERED}


async def test_a_replay_that_crashes_again_leaves_the_fill_quarantined_and_the_command_refused(
    tmp_path: Path,
) -> None:
    async with poisoned(tmp_path, kills=False) as cluster:
        await story(cluster, bad_fill_among_others)
        answer = await cluster.command(
            "commands.creator.anna", type="resume_creator", action="replay"
        )
        assert (answer["ok"], answer["reason"]) == (False, "poison")
        await cluster.drained()
        assert not cluster.events(CREATOR, CreatorResumed)
        await cluster.publish("fills.paper.anna", cluster.fill("AAA", "buy", "10"))
        await cluster.drained()
        assert last_dispositions(cluster) == {Disposition.CREATOR_SUSPENDED}
        answer = await cluster.command(
            "commands.creator.anna", type="resume_creator", action="void"
        )
        assert (answer["ok"], answer["parked"]) == (True, 1)
