"""The command `follow`: a subscription begins, and counts from the next frame of its creator."""

from collections.abc import Collection, Iterator

import numpy as np
from numpy.typing import NDArray

from engine.follower.book import SubscriptionStatus
from engine.follower.decide.command_scope import NOT_OPEN, ROWS_OF_OPENED, CommandScope, Pair, Place
from engine.journal.events.subscriptions import SubscriptionsOpened
from engine.messages.answers import Answer, Elsewhere, Followed
from engine.messages.commands import Follow, Unfollow
from engine.values.refusals import Refused


class Follows:
    """The `follow` commands of one batch."""

    waits_for = (Unfollow,)

    def __init__(self, scope: CommandScope) -> None:
        self._scope = scope
        self._state = scope.state
        self._new: dict[Pair, tuple[Follow, int, Followed]] = {}

    @property
    def gathered(self) -> Collection[object]:
        """The accounts and creators of the subscriptions that are not yet applied."""
        return self._new

    def locate(self, command: Follow) -> Pair | Refused | Elsewhere:
        """Find the account and the creator, which must be open."""
        pair = self._scope.locate(command)
        if pair[-1] == NOT_OPEN:
            return Refused(
                "unknown_creator",
                f"creator_id: expected an open creator, found {command.creator_id!r}",
            )
        return pair

    def find_repeat(self, command: Follow, target: Pair, command_hash: int) -> Answer | None:
        """Return the answer as it was, whatever has become of the subscription."""
        new = self._new.get(target)
        if new is not None and new[1] == command_hash:
            return new[2]
        for book, row in self._held(target):
            table = book.subscriptions
            if int(table["command"][row]) == command_hash:
                return Followed(int(table["subscription"][row]), int(table["from_frame"][row]))
        return None

    def decide(self, command: Follow, target: Pair, command_hash: int) -> Answer:
        """Begin a subscription, unless there is one that is not yet over."""
        if target in self._new or any(
            book.subscriptions["status"][row] != SubscriptionStatus.ENDED
            for book, row in self._held(target)
        ):
            return Refused(
                "subscription_exists",
                f"account {command.account_id}: expected none, found a "
                f"subscription to {command.creator_id} not yet over",
            )
        number = self._state.places.count + len(self._new)
        answer = Followed(number, self._scope.next_frame(target[1]))
        self._new[target] = command, command_hash, answer
        self._scope.rows += ROWS_OF_OPENED
        return answer

    def _held(self, pair: Pair) -> list[Place]:
        # Most commands follow with an account just opened, which holds no subscription.
        is_applied = pair[0] < self._state.accounts.count
        return self._scope.subscriptions(pair) if is_applied else []

    def flush(self) -> Iterator[SubscriptionsOpened]:
        """Yield one event of all new subscriptions."""
        pairs, follows = list(self._new), list(self._new.values())
        self._new.clear()

        def column(values: Iterator[int]) -> NDArray[np.int64]:
            return np.fromiter(values, np.int64, len(follows))

        commands = [command for command, _, _ in follows]
        yield SubscriptionsOpened(
            first=self._state.places.count,
            accounts=column(account for account, _, _ in pairs),
            creator_shards=column(creator_shard for _, creator_shard, _ in pairs),
            creators=column(creator for _, _, creator in pairs),
            modes=column(command.mode for command in commands),
            ratios=column(command.ratio for command in commands),
            amounts=column(command.amount for command in commands),
            max_order_notionals=column(command.max_order_notional for command in commands),
            max_weights=column(command.max_position_weight for command in commands),
            allow_short=column(int(command.allow_short) for command in commands),
            cash=column(command.cash for command in commands),
            from_frames=column(followed.from_frame for _, _, followed in follows),
            commands=column(command_hash for _, command_hash, _ in follows),
        )
