"""The commands `pause` and `resume`: a subscription takes no increases, or takes them again."""

from collections.abc import Collection, Iterator

import numpy as np

from engine.follower.decide.command_scope import CommandScope, Pair, no_subscription
from engine.journal.events.subscriptions import SubscriptionsPaused, SubscriptionsResumed
from engine.messages.answers import Answer, Elsewhere, Paused, Resumed
from engine.messages.commands import Follow, Pause, Resume, Unfollow
from engine.values.refusals import Refused


class Switches:
    """The commands of one batch that pause, or those that resume. A subscription knows the last
    command of each kind by its hash, in the column `column`.
    """

    waits_for = (Follow, Unfollow, Pause, Resume)

    def __init__(
        self,
        scope: CommandScope,
        column: str,
        answer: type[Paused | Resumed],
        event: type[SubscriptionsPaused | SubscriptionsResumed],
    ) -> None:
        self._scope = scope
        self._column = column
        self._answer = answer
        self._event = event
        self._switched: dict[Pair, tuple[int, int]] = {}

    @property
    def gathered(self) -> Collection[object]:
        """The accounts and creators of the subscriptions that are switched and not yet applied."""
        return self._switched

    def locate(self, command: Pause | Resume) -> Pair | Refused | Elsewhere:
        """Find the account and the creator."""
        return self._scope.locate(command)

    def find_repeat(
        self, command: Pause | Resume, target: Pair, command_hash: int
    ) -> Answer | None:
        """Return the answer as it was; what has been commanded since then stands."""
        for book, row in self._scope.subscriptions(target):
            if int(book.subscriptions[self._column][row]) == command_hash:
                return self._answer(int(book.subscriptions["subscription"][row]))
        return None

    def decide(self, command: Pause | Resume, target: Pair, command_hash: int) -> Answer:
        """Switch a subscription that is active."""
        active = self._scope.find_active(target)
        if active is None:
            return no_subscription(command)
        book, row = active
        number = int(book.subscriptions["subscription"][row])
        self._switched[target] = number, command_hash
        self._scope.rows += 1
        return self._answer(number)

    def flush(self) -> Iterator[SubscriptionsPaused | SubscriptionsResumed]:
        """Yield one event of all that are switched."""
        columns = np.array(list(self._switched.values()), np.int64)
        self._switched.clear()
        yield self._event(columns[:, 0].copy(), columns[:, 1].copy())


def pauses(scope: CommandScope) -> Switches:
    """Return the decider of the `pause` commands of one batch."""
    return Switches(scope, "pause_command", Paused, SubscriptionsPaused)


def resumes(scope: CommandScope) -> Switches:
    """Return the decider of the `resume` commands of one batch."""
    return Switches(scope, "resume_command", Resumed, SubscriptionsResumed)
