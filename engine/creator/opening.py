"""The command `open_creator`: it gives a creator its number, its cash and the broker of its
fills.
"""

from collections.abc import Sequence

import numpy as np

from engine.columns.state import hash_64
from engine.creator.command_outcome import CommandOutcome
from engine.creator.shard import CreatorShard
from engine.journal.events.creator import CreatorsOpened
from engine.messages.answers import CreatorOpened
from engine.messages.commands import OpenCreator
from engine.values.refusals import Refused
from engine.values.units import MONEY_MAX


def open_creator(
    shard: CreatorShard, command: OpenCreator, brokers: Sequence[str]
) -> CommandOutcome:
    """Open a creator. Refuse it if another command opened it, or if its broker is unknown."""
    if command.broker not in brokers:
        known = ", ".join(brokers)
        return CommandOutcome(
            Refused("unknown_broker", f"broker: expected one of {known}, found {command.broker!r}")
        )
    creator_id, command_hash = command.creator_id, hash_64(command.command_id)
    answer = CreatorOpened(creator_id)
    number = shard.number_of(creator_id)
    if number is not None:
        if shard.creators[number].command == command_hash:
            return CommandOutcome(answer)
        return CommandOutcome(
            Refused(
                "creator_exists",
                f"creator {creator_id}: expected an id not yet open, "
                "found it open by another command",
            )
        )
    if not 0 <= command.cash <= MONEY_MAX:
        return CommandOutcome(
            Refused("out_of_range", "cash: expected zero or more, found a negative amount")
        )
    event = CreatorsOpened(
        np.array([len(shard.creators)], np.int64),
        [creator_id],
        [command.broker],
        np.array([command.cash], np.int64),
        np.array([command_hash], np.int64),
    )
    return CommandOutcome(answer, event)
