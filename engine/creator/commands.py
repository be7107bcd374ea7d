"""Commands of a creator shard. `DECIDERS` has a row for every kind of command, and each kind has a
module of its own.
"""

from collections.abc import Callable, Sequence
from typing import Any

from engine.creator.command_outcome import CommandOutcome
from engine.creator.opening import open_creator
from engine.creator.resuming import resume_creator
from engine.creator.shard import CreatorShard
from engine.messages.commands import CreatorCommand, OpenCreator, ResumeCreator

DECIDERS: dict[type, Callable[[CreatorShard, Any, Sequence[str]], CommandOutcome]] = {
    OpenCreator: open_creator,
    ResumeCreator: resume_creator,
}
"""The decider of each kind of command. It takes the shard, the command, and the names of all
brokers.
"""


def decide_command(
    shard: CreatorShard, command: CreatorCommand, brokers: Sequence[str]
) -> CommandOutcome:
    """Decide one command. A repeat, known by its id, is answered as before and changes nothing."""
    return DECIDERS[type(command)](shard, command, brokers)
