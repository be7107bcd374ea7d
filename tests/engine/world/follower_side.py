"""The followers' side of an `EngineWorld`: one follower shard, which reads the creator shard's
frames and takes commands.

Every part of a signal is a frame of its own, as in a running cluster.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from engine.follower.decide.commands import CommandBatch
from engine.follower.decide.creators import learn
from engine.follower.decide.follow_ups import decide_due
from engine.follower.decide.signals import decide_parts, parts_of, position_of
from engine.follower.deciding import Deciding
from engine.follower.shard import FollowerShard
from engine.journal.cursors import NO_ROW, Cursor, Source
from engine.journal.events.creator import FillApplied
from engine.journal.events.orders import SignalDecided
from engine.journal.frame import ShardKey, ShardKind
from engine.messages.commands import AccountCommand, Follow, OpenAccount, Pause, Resume, Unfollow
from engine.values.copy_mode import Mode
from engine.values.copy_policy import CopyPolicy
from engine.values.refusals import Refused
from tests.engine.journaled import Journaled
from tests.engine.world.clock import WorldClock
from tests.reference.values import SleeveTerms

BROKER = "paper"


def follow_terms(terms: SleeveTerms) -> dict[str, Any]:
    """Return the fields of a `Follow` that say how a subscription copies."""
    return {**asdict(terms), "mode": Mode[terms.mode.upper()]}


class FollowerSide:
    """One follower shard. `part_rows` is asked before each part of a signal, so that parts of any
    size may follow one another.
    """

    def __init__(self, clock: WorldClock, policy: CopyPolicy, part_rows: Callable[[], int]) -> None:
        self._clock = clock
        self._policy = policy
        self._part_rows = part_rows
        self._commands_count = 0
        self.brokers = {BROKER}
        self.journaled = Journaled(ShardKey(ShardKind.FOLLOWER, 0), lambda: FollowerShard(0))

    @property
    def deciding(self) -> Deciding:
        """The shard's state, the copy policy and event time, as deciders take them."""
        return Deciding(self.journaled.live.state, self._policy, self._clock.time)

    def apply(self, decided: Iterator[Any], answers: list[Any] | None = None) -> list[Any]:
        """Apply each event before asking for the next. What is no event goes to `answers`."""
        events = []
        for event in decided:
            if not hasattr(event, "TAG"):
                assert answers is not None
                answers.append(event)
                continue
            self.journaled.live.apply_event(event)
            events.append(event)
        return events

    def commit(self, events: list[Any]) -> None:
        """Journal events that were applied, if there are any."""
        if events:
            self.journaled.commit(events, self._clock.time)

    # The creator shard's frames.

    def read(self, events: list[Any], frame_number: int) -> list[SignalDecided]:
        """Read a frame of the creator shard. Returns: the signals decided."""
        decided: list[SignalDecided] = []
        for event in events:
            self.commit(self.apply(iter(list(learn(self.journaled.live.state, 0, event)))))
            if isinstance(event, FillApplied):
                decided += self._decide_fill(event, frame_number)
        self.journaled.commit([], self._clock.time, [self._cursor(frame_number)])
        return decided

    @staticmethod
    def _cursor(frame_number: int, position: int = 0, row: int = NO_ROW) -> Cursor:
        return Cursor(Source.CREATOR_JOURNAL, 0, frame_number, frame_number, position, row)

    def _decide_fill(self, fill: FillApplied, frame_number: int) -> list[SignalDecided]:
        """Decide every part, each in a frame whose cursor is all that the next part starts from."""
        decided: list[SignalDecided] = []
        position, row = 0, 0
        while True:
            shard, part_rows = self.journaled.live.state, self._part_rows()
            part = next(parts_of(shard, 0, fill, part_rows, position=position, row=row), None)
            if part is None:
                return decided
            events = self.apply(iter(decide_parts(self.deciding, [part], part_rows)))
            position = position_of(fill.signal, part.leg.leg)
            row = min(part.first_row + part_rows, part.book.count)
            cursor = self._cursor(frame_number, position, row)
            self.journaled.commit(events, self._clock.time, [cursor])
            decided += [event for event in events if isinstance(event, SignalDecided)]

    # Commands and time.

    def follow(self, account: str, creator: str, terms: SleeveTerms) -> None:
        """Begin a subscription, opening the account if need be."""
        commands: list[AccountCommand] = []
        if self.journaled.live.state.account_ids.find(account) is None:
            commands.append(OpenAccount(f"open-{account}", account, BROKER))
        name = f"follow-{self._next_command()}"
        self.command([*commands, Follow(name, account, creator, **follow_terms(terms))])

    def unfollow(self, account: str, creator: str) -> None:
        """End a subscription."""
        self.command([Unfollow(f"unfollow-{self._next_command()}", account, creator)])

    def pause(self, account: str, creator: str, *, is_paused: bool = True) -> None:
        """Stop or resume a subscription's increases."""
        kind = Pause if is_paused else Resume
        self.command([kind(f"pause-{self._next_command()}", account, creator)])

    def _next_command(self) -> int:
        self._commands_count += 1
        return self._commands_count

    def deny(self, symbol: str) -> None:
        """Change the settings: increases of an instrument are denied from here on."""
        self._policy = self._policy._replace(denied=self._policy.denied | {symbol})

    def command(self, commands: list[AccountCommand]) -> list[Any]:
        """Decide commands in one frame; none of them is refused. Returns: the answers."""
        answers = self.decide_commands(commands)
        assert not [answer for answer in answers if isinstance(answer, Refused)], answers
        return answers

    def decide_commands(self, commands: list[AccountCommand]) -> list[Any]:
        """Decide commands in one frame, and again as repeats, which must change nothing. Returns:
        the answers.
        """
        answers = self._decide_once(commands)
        frames_count = len(self.journaled.frames)
        assert self._decide_once(commands) == answers
        assert len(self.journaled.frames) == frames_count, "a repeated command changes nothing"
        return answers

    def _decide_once(self, commands: list[AccountCommand]) -> list[Any]:
        batch = CommandBatch(
            self.deciding, creator_shards=1, follower_shards=1, brokers=frozenset(self.brokers)
        )
        answers: list[Any] = []
        self.commit(self.apply(batch.decide(commands), answers))
        return answers

    def decide_due(self) -> None:
        """Do what has fallen due."""
        self.commit(self.apply(decide_due(self.deciding)))
