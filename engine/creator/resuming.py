"""The command `resume_creator`: it ends a creator's suspension and settles the quarantined fills
(`engine.creator.suspensions`).
"""

from collections.abc import Sequence

from engine.columns.state import hash_64
from engine.creator.command_outcome import CommandOutcome
from engine.creator.shard import CreatorShard
from engine.messages.answers import EntriesAllowed
from engine.messages.commands import ResumeCreator
from engine.values.refusals import Refused


def resume_creator(
    shard: CreatorShard, command: ResumeCreator, brokers: Sequence[str]
) -> CommandOutcome:
    """Settle a creator's quarantined fills: decide them again, or void them."""
    creator_id, command_hash = command.creator_id, hash_64(command.command_id)
    number = shard.number_of(creator_id)
    if number is None:
        return CommandOutcome(
            Refused(
                "unknown_creator", f"creator_id: expected an open creator, found {creator_id!r}"
            )
        )
    suspensions = shard.suspensions
    settled = suspensions.settled_by(number, command_hash)
    if settled is not None:
        return CommandOutcome(EntriesAllowed(creator_id, settled))
    event = suspensions.decide_resume(
        number, shard.next_signal, is_replay=command.is_replay, command=command_hash
    )
    fills = list(zip(event.sequences.tolist(), event.positions.tolist(), strict=True))
    answer = EntriesAllowed(creator_id, len(fills))
    return CommandOutcome(answer, event, tuple(fills) if command.is_replay else ())
