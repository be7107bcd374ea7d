"""The command `unfollow`: a subscription begins to end (`engine.follower.decide.closing`)."""

from collections.abc import Collection, Iterator
from typing import Any

from engine.follower.book import SubscriptionStatus
from engine.follower.decide.closing import Ending, end_subscriptions
from engine.follower.decide.command_scope import CommandScope, Pair, no_subscription
from engine.messages.answers import Answer, Elsewhere, Unfollowed
from engine.messages.commands import Follow, Unfollow
from engine.values.refusals import Refused

ROWS_OF_CLOSING = 8
"""The weight of closing an instrument for the first subscription of a book: its cancels and orders
are events of their own.
"""


class Unfollows:
    """The `unfollow` commands of one batch."""

    waits_for = (Follow,)

    def __init__(self, scope: CommandScope) -> None:
        self._scope = scope
        self._endings: dict[Pair, Ending] = {}
        self._creators: set[tuple[int, int]] = set()
        """The creators of the subscriptions that end."""

    @property
    def gathered(self) -> Collection[object]:
        """The accounts and creators of the subscriptions that end and are not yet applied."""
        return self._endings

    def locate(self, command: Unfollow) -> Pair | Refused | Elsewhere:
        """Find the account and the creator."""
        return self._scope.locate(command)

    def find_repeat(self, command: Unfollow, target: Pair, command_hash: int) -> Answer | None:
        """Return the answer as it was; what was followed anew since then does not end."""
        ending = self._endings.get(target)
        if ending is not None and ending.command == command_hash:
            return Unfollowed(ending.subscription, ending.until_frame)
        for book, row in self._scope.subscriptions(target):
            table = book.subscriptions
            is_over = table["status"][row] >= SubscriptionStatus.ENDING
            if is_over and int(table["end_command"][row]) == command_hash:
                return Unfollowed(int(table["subscription"][row]), int(table["until_frame"][row]))
        return None

    def decide(self, command: Unfollow, target: Pair, command_hash: int) -> Answer:
        """End a subscription that is active."""
        active = self._scope.find_active(target)
        if active is None or target in self._endings:
            return no_subscription(command)
        book, row = active
        number = int(book.subscriptions["subscription"][row])
        until_frame = self._scope.next_frame(target[1])
        self._endings[target] = Ending(number, until_frame, command_hash)
        weight = 1 if target[1:] in self._creators else ROWS_OF_CLOSING
        self._creators.add(target[1:])
        self._scope.rows += 1 + weight * len(book.slots)
        return Unfollowed(number, until_frame)

    def flush(self) -> Iterator[Any]:
        """Yield one event of all that end, then their cancels and closing orders."""
        endings = list(self._endings.values())
        self._endings.clear()
        self._creators.clear()
        yield from end_subscriptions(self._scope.deciding, endings)
