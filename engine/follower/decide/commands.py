"""Commands of a follower shard: many at once, each answered in its place.

`DECIDERS` has a row for every kind of command. A batch finds the decider of each command there.
The decider finds what the command is about, answers it as before if it is a repeat, or decides it
and gathers what it changes. What is gathered becomes few events of many rows.

A command is a repeat when its id is that of an earlier one: it is answered again, and never done
twice.
"""

from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

from engine.columns.state import hash_64
from engine.follower.decide.command_scope import ClusterShape, CommandDecider, CommandScope
from engine.follower.decide.following import Follows
from engine.follower.decide.opening import OpenAccounts
from engine.follower.decide.pausing import pauses, resumes
from engine.follower.decide.resolving import Resolves
from engine.follower.decide.unfollowing import Unfollows
from engine.follower.deciding import Deciding
from engine.messages.answers import POISON_TEXT, Elsewhere
from engine.messages.commands import (
    AccountCommand,
    Follow,
    OpenAccount,
    Pause,
    ResolveOrder,
    Resume,
    Unfollow,
    name_of,
)
from engine.values.refusals import Refused

ROWS_MAX = 32_768

DECIDERS: dict[type, Callable[[CommandScope], CommandDecider[Any, Any]]] = {
    OpenAccount: OpenAccounts,
    Follow: Follows,
    ResolveOrder: Resolves,
    Pause: pauses,
    Resume: resumes,
    Unfollow: Unfollows,
}
"""The decider of each kind of command, in the order in which what they gathered is applied: what is
new first, what ends last.
"""


class _Row(NamedTuple):
    """A decider, and the targets gathered by the kinds of commands that it waits for."""

    decider: CommandDecider[Any, Any]
    waits_for: tuple[Collection[Any], ...]


class CommandBatch:
    """Decides one batch of commands against a shard.

    What the commands change is gathered until a command needs it applied, or until it might write
    more than `rows_max` rows of a few numbers. So a caller that splits its frames after an answer
    splits them in time.
    """

    def __init__(
        self,
        deciding: Deciding,
        *,
        creator_shards: int,
        follower_shards: int,
        brokers: frozenset[str],
        rows_max: int = ROWS_MAX,
    ) -> None:
        self._quarantine = deciding.state.quarantine
        self._rows_max = rows_max
        self._scope = CommandScope(deciding, ClusterShape(creator_shards, follower_shards, brokers))
        deciders = {kind: make(self._scope) for kind, make in DECIDERS.items()}
        self._rows = {
            kind: _Row(decider, tuple(deciders[other].gathered for other in decider.waits_for))
            for kind, decider in deciders.items()
        }

    def decide(self, commands: list[AccountCommand]) -> Iterator[Any]:
        """Decide commands in order. Yields: an `Answer` for each command, in order, and between
        them the events, each to be applied at once.
        """
        scope, quarantine = self._scope, self._quarantine
        for command in commands:
            if quarantine.commands and quarantine.holds(name_of(command)):
                yield Refused("poison", POISON_TEXT)
                continue
            decider, waits_for = self._rows[type(command)]
            target = decider.locate(command)
            if scope.rows >= self._rows_max:
                yield from self._flush()
            for gathered in waits_for:
                if gathered and target in gathered:
                    yield from self._flush()
            if isinstance(target, Refused | Elsewhere):
                yield target
                continue
            command_hash = hash_64(command.command_id)
            answer = decider.find_repeat(command, target, command_hash)
            yield decider.decide(command, target, command_hash) if answer is None else answer
        yield from self._flush()

    def _flush(self) -> Iterator[Any]:
        self._scope.begin()
        for decider, _ in self._rows.values():
            if decider.gathered:
                yield from decider.flush()
