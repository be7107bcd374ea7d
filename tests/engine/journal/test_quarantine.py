"""Quarantined inputs and the creators suspended for them: built from events alone, and restored
from a stored state (P6).
"""

from typing import Any

import numpy as np

from engine.columns.snapshot import decode_snapshot
from engine.columns.state import decode_state, encode_state, state_hash
from engine.creator.snapshot_schema import CREATOR_SCHEMA
from engine.creator.suspensions import Suspensions
from engine.follower.snapshot_schema import FOLLOWER_SCHEMA
from engine.follower.suspended_entries import SuspendedEntries
from engine.journal.events.creator import CreatorResumed, CreatorSuspended
from engine.journal.events.shard import InputQuarantined
from engine.journal.events.subscriptions import EntriesResumed, EntriesSuspended
from engine.journal.quarantine import Quarantine


def quarantined(source: int, subject: str) -> InputQuarantined:
    return InputQuarantined(source, 0, 7, -1, 0, 2, subject, "poison: text", "excerpt")


def resumed(creator: int, signal: int, command: int, *fills: tuple[int, int]) -> CreatorResumed:
    columns = np.array(fills, np.int64).reshape(-1, 2)
    return CreatorResumed(creator, signal, 1, command, columns[:, 0], columns[:, 1])


def test_without_quarantined_inputs_a_state_has_no_columns_of_them() -> None:
    assert not {**Quarantine().state(), **Suspensions().state(), **SuspendedEntries().state()}


def test_a_quarantined_command_is_remembered_for_ever() -> None:
    quarantine = Quarantine()
    quarantine.apply(quarantined(1, "fills.paper.anna"))
    quarantine.apply(quarantined(0, "commands.account.alice c-1"))
    again = Quarantine.restored(decode_state(encode_state(quarantine.state())))
    assert again == quarantine
    assert (again.count, again.holds("commands.account.alice c-1")) == (2, True)
    assert not again.holds("fills.paper.anna")


def test_a_creator_is_suspended_until_each_of_its_quarantined_inputs_is_settled() -> None:
    suspensions = Suspensions()
    for event in (CreatorSuspended(3, 9, -1), CreatorSuspended(3, 7, 4), CreatorSuspended(5, 8, 0)):
        suspensions.apply(event)
    assert (suspensions.count, suspensions.quarantined(3)) == (2, [(7, 4), (9, -1)])
    settled = suspensions.decide_resume(3, 12, is_replay=True, command=99)
    assert settled.sequences.tolist() == [7, 9]
    suspensions.apply(settled)
    again = Suspensions()
    again.restore(decode_snapshot(encode_state(suspensions.state()), CREATOR_SCHEMA))
    assert state_hash(again.state()) == state_hash(suspensions.state())
    assert (again.count, again.quarantined(3), again.quarantined(5)) == (1, [], [(8, 0)])
    assert (again.settled_by(3, 99), again.settled_by(3, 98), again.settled_by(5, 99)) == (
        2,
        None,
        None,
    )


def test_a_follower_shard_skips_entries_of_suspended_creators_and_all_of_a_quarantined_signal() -> (
    None
):
    entries = SuspendedEntries()

    def see(event: Any) -> list[Any]:
        found = list(entries.learn(1, event))
        for each in found:
            entries.apply(each)
        return found

    assert [type(event) for event in see(CreatorSuspended(3, 9, 0))] == [EntriesSuspended]
    assert see(CreatorSuspended(3, 10, 0)) == []
    assert entries.skips(1, 3, 20, is_increase=True)
    assert not entries.skips(1, 3, 20, is_increase=False)
    assert not entries.skips(1, 4, 20, is_increase=True)
    assert [type(event) for event in see(resumed(3, 21, 1))] == [EntriesResumed]
    assert not entries.skips(1, 3, 21, is_increase=True)
    entries.apply(EntriesSuspended(1, 3, 21))
    assert entries.skips(1, 3, 21, is_increase=False)
    assert not entries.skips(1, 3, 22, is_increase=False)
    # The frame that resumed the creator is read again when its own fill was quarantined: that stays
    # quarantined.
    assert see(resumed(3, 21, 1)) == []
    again = SuspendedEntries()
    again.restore(decode_snapshot(encode_state(entries.state()), FOLLOWER_SCHEMA))
    assert state_hash(again.state()) == state_hash(entries.state())
    assert [type(event) for event in see(resumed(3, 22, 2))] == [EntriesResumed]
    assert len(entries) == 0
