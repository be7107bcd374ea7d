"""What is set aside, and the creators suspended for it: told from events alone, and taken back from a state as it was (P6)."""

from typing import Any

import numpy as np

from engine.events.creator import CreatorResumed, CreatorSuspended
from engine.events.shard import InputParked
from engine.events.subscriptions import EntriesResumed, EntriesSuspended
from engine.parking import Parking, SuspendedEntries, Suspensions
from engine.tables import decode_state, encode_state, state_hash


def parked(source: int, subject: str) -> InputParked:
    return InputParked(source, 0, 7, -1, 0, 2, subject, "poison: text", "excerpt")


def resumed(creator: int, signal: int, command: int, *fills: tuple[int, int]) -> CreatorResumed:
    columns = np.array(fills, np.int64).reshape(-1, 2)
    return CreatorResumed(creator, signal, 1, command, columns[:, 0], columns[:, 1])


def test_nothing_set_aside_leaves_states_as_they_were_before_there_was_parking() -> None:
    assert not {**Parking().state(), **Suspensions().state(), **SuspendedEntries().state()}


def test_a_parked_command_is_known_by_its_name_for_ever() -> None:
    parking = Parking()
    parking.apply(parked(1, "fills.paper.anna"))
    parking.apply(parked(0, "commands.account.alice c-1"))
    again = Parking.restored(decode_state(encode_state(parking.state())))
    assert again == parking
    assert (again.count, again.holds("commands.account.alice c-1")) == (2, True)
    assert not again.holds("fills.paper.anna")


def test_a_creator_is_suspended_until_all_that_is_parked_of_it_is_settled() -> None:
    suspensions = Suspensions()
    for event in (CreatorSuspended(3, 9, -1), CreatorSuspended(3, 7, 4), CreatorSuspended(5, 8, 0)):
        suspensions.apply(event)
    assert (suspensions.count, suspensions.parked(3)) == (2, [(7, 4), (9, -1)])
    settled = suspensions.decide_resume(3, 12, is_replay=True, command=99)
    assert settled.sequences.tolist() == [7, 9]
    suspensions.apply(settled)
    again = Suspensions()
    again.restore(decode_state(encode_state(suspensions.state())))
    assert state_hash(again.state()) == state_hash(suspensions.state())
    assert (again.count, again.parked(3), again.parked(5)) == (1, [], [(8, 0)])
    assert (again.settled_by(3, 99), again.settled_by(3, 98), again.settled_by(5, 99)) == (2, None, None)


def test_a_follower_shard_skips_entries_of_suspended_creators_and_all_of_a_parked_signal() -> None:
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
    # The frame that resumed the creator is read again when its own fill was parked: that stays parked.
    assert see(resumed(3, 21, 1)) == []
    again = SuspendedEntries()
    again.restore(decode_state(encode_state(entries.state())))
    assert state_hash(again.state()) == state_hash(entries.state())
    assert [type(event) for event in see(resumed(3, 22, 2))] == [EntriesResumed]
    assert len(entries) == 0
