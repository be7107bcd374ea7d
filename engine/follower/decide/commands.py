"""What a follower shard does about commands: open accounts, follow, unfollow, pause, resume; many
at once, each answered in its place.

A command is the same command when its id is the same: what it did is found again and answered
again, never done twice.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.columns.state import hash_64
from engine.follower.book import Book, Status
from engine.follower.decide.closing import Ending, end_subscriptions
from engine.follower.state import NOTHING, FollowerState
from engine.journal.cursors import Source
from engine.journal.events.subscriptions import (
    AccountsOpened,
    SubscriptionsOpened,
    SubscriptionsPaused,
    SubscriptionsResumed,
)
from engine.messages.answers import (
    POISON_TEXT,
    AccountOpened,
    Answer,
    Elsewhere,
    Followed,
    Paused,
    Resumed,
    Unfollowed,
)
from engine.messages.commands import (
    AccountCommand,
    Follow,
    OpenAccount,
    Pause,
    Resume,
    Unfollow,
    name_of,
)
from engine.values.copy_policy import CopyPolicy
from engine.values.ids import DEDICATED_SHARDS_MAX, shard_of
from engine.values.refusals import Refused

ROWS_MAX = 32_768
ROWS_OF_OPENED = 4
"""What an account or a subscription weighs among rows of a few numbers: a dozen columns, or an id
of up to 64 characters.
"""
ROWS_OF_CLOSING = 8
"""What closing an instrument weighs for the first subscription of a book: cancels and orders are
events of their own.
"""


_Pair = tuple[int, int, int]
"""An account's number, a creator shard, and the creator's number in it."""


class CommandBatch:
    """Decides one batch of commands against a shard; `answers` are in the order of the commands.

    What is new or ends is gathered, kind by kind, until a command needs it applied, or until what
    is gathered might write more than `rows_max` rows of a few numbers: a caller that cuts its
    frames after an answer then cuts in time.
    """

    def __init__(
        self,
        shard: FollowerState,
        *,
        creator_shards: int,
        follower_shards: int,
        brokers: frozenset[str],
        rows_max: int = ROWS_MAX,
    ) -> None:
        self._shard = shard
        self._rows_max = rows_max
        self._creator_shards = creator_shards
        self._follower_shards = follower_shards
        self._brokers = brokers
        self._accounts: dict[str, tuple[OpenAccount, int, int, int]] = {}
        self._follows: dict[_Pair, tuple[Follow, int, Followed]] = {}
        self._unfollows: dict[_Pair, Ending] = {}
        self._ending_creators: set[tuple[int, int]] = set()
        self._rows = 0
        self._pauses: dict[_Pair, tuple[type[Pause | Resume], int, int]] = {}
        self._given_away = 0
        self._held: dict[int, dict[tuple[int, int], list[tuple[Book, int]]]] = {}
        """By account and creator, the subscriptions that are applied."""

    def decide(
        self, commands: list[AccountCommand], terms: CopyPolicy, event_time_ns: int
    ) -> Iterator[Any]:
        """Decide commands in order: yields events to apply at once, and an `Answer` for each
        command, in order.
        """
        quarantine = self._shard.quarantine
        for command in commands:
            if quarantine.commands and quarantine.holds(name_of(command)):
                yield Refused("poison", POISON_TEXT)
                continue
            if self._needs_applied(command) or self._rows >= self._rows_max:
                yield from self._flush(terms, event_time_ns)
            yield self._answer(command)
        yield from self._flush(terms, event_time_ns)

    def _answer(self, command: AccountCommand) -> Answer:
        if isinstance(command, OpenAccount):
            return self._open(command)
        if isinstance(command, Follow):
            return self._follow(command)
        if isinstance(command, Unfollow):
            return self._unfollow(command)
        return self._pause(command)

    def _needs_applied(self, command: AccountCommand) -> bool:
        """Say whether a command is about a subscription that one gathered before it, of another
        kind or a pause, changes.
        """
        gathered: tuple[dict[_Pair, Any], ...]
        if isinstance(command, OpenAccount):
            return False
        if isinstance(command, Follow):
            # The common batch opens and follows: nothing else is asked of it.
            if not self._unfollows:
                return False
            gathered = (self._unfollows,)
        elif isinstance(command, Unfollow):
            gathered = (self._follows,)
        else:
            gathered = (self._follows, self._unfollows, self._pauses)
        if not any(gathered):
            return False
        pair = *self._account(command.account_id)[:1], *self._creator(command)
        return any(pair in pairs for pairs in gathered)

    def _creator(self, command: Follow | Unfollow | Pause | Resume) -> tuple[int, int]:
        """Find a command's creator. Returns: its shard and its number there, -1 where it is not
        known.
        """
        creator_shard = shard_of(command.creator_id, self._creator_shards)
        return creator_shard, self._shard.creators.get((creator_shard, command.creator_id), -1)

    def _flush(self, terms: CopyPolicy, event_time_ns: int) -> Iterator[Any]:
        self._rows = 0
        self._held.clear()
        if self._accounts:
            yield self._flush_accounts()
        if self._follows:
            yield self._flush_follows()
        if self._pauses:
            yield from self._flush_pauses()
        if self._unfollows:
            yield from self._flush_unfollows(terms, event_time_ns)

    # Accounts.

    def _open(self, command: OpenAccount) -> Answer:
        shard, wanted = self._shard, hash_64(command.command_id)
        pending = self._accounts.get(command.account_id)
        if pending is not None:
            if pending[0].command_id == command.command_id:
                return AccountOpened(command.account_id, pending[2])
            return self._account_exists(command)
        number = shard.account_ids.find(command.account_id)
        if number is not None:
            if int(shard.accounts["command"][number]) == wanted:
                return AccountOpened(command.account_id, self.home_of(number))
            return self._account_exists(command)
        if command.broker not in self._brokers:
            known = ", ".join(sorted(self._brokers))
            return Refused(
                "unknown_broker", f"broker: expected one of {known}, found {command.broker!r}"
            )
        home = shard.shard
        if command.dedicated and home < self._follower_shards:
            home = self._next_dedicated()
            if home >= DEDICATED_SHARDS_MAX:
                return Refused(
                    "out_of_range",
                    f"dedicated: expected at most {DEDICATED_SHARDS_MAX} shards "
                    "in all, found no number for one more",
                )
            self._given_away += 1
        self._accounts[command.account_id] = (
            command,
            wanted,
            home,
            len(shard.account_ids) + len(self._accounts),
        )
        self._rows += ROWS_OF_OPENED
        return AccountOpened(command.account_id, home)

    @staticmethod
    def _account_exists(command: OpenAccount) -> Refused:
        return Refused(
            "account_exists",
            f"account {command.account_id}: expected an id not yet "
            "open, found it open by another command",
        )

    @staticmethod
    def _unknown_account(command: AccountCommand) -> Refused:
        return Refused(
            "unknown_account", f"account_id: expected an open account, found {command.account_id!r}"
        )

    def _account(self, account_id: str) -> tuple[int | None, int]:
        """Find an account, also one opened in this batch. Returns: its number and the shard it
        lives in.
        """
        pending = self._accounts.get(account_id)
        if pending is not None:
            return pending[3], pending[2]
        number = self._shard.account_ids.find(account_id)
        return number, self._shard.shard if number is None else self.home_of(number)

    def _broker_of(self, account_id: str, account: int) -> str:
        pending = self._accounts.get(account_id)
        return (
            pending[0].broker
            if pending
            else self._shard.brokers[int(self._shard.accounts["broker"][account])]
        )

    def home_of(self, account: int) -> int:
        """Name the shard that an account lives in."""
        dedicated = int(self._shard.accounts["dedicated"][account])
        return dedicated if dedicated >= 0 else self._shard.shard

    def _next_dedicated(self) -> int:
        given = int((self._shard.accounts["dedicated"] >= 0).sum()) + self._given_away
        return self._follower_shards * (1 + given) + self._shard.shard

    def _flush_accounts(self) -> AccountsOpened:
        opened = list(self._accounts.values())
        self._accounts, self._given_away = {}, 0
        brokers = sorted({command.broker for command, *_ in opened})
        return AccountsOpened(
            first=len(self._shard.account_ids),
            ids=[command.account_id for command, *_ in opened],
            brokers=brokers,
            broker_of=np.array([brokers.index(command.broker) for command, *_ in opened], np.int64),
            dedicated=np.array(
                [home if home != self._shard.shard else -1 for _, _, home, _ in opened], np.int64
            ),
            commands=np.array([wanted for _, wanted, _, _ in opened], np.int64),
        )

    # Following.

    def _follow(self, command: Follow) -> Answer:
        shard = self._shard
        account, home = self._account(command.account_id)
        if account is None:
            return self._unknown_account(command)
        if home != shard.shard:
            return Elsewhere(home, self._broker_of(command.account_id, account))
        creator_shard, creator = self._creator(command)
        if creator < 0:
            return Refused(
                "unknown_creator",
                f"creator_id: expected an open creator, found {command.creator_id!r}",
            )
        wanted = hash_64(command.command_id)
        key = (account, creator_shard, creator)
        pending = self._follows.get(key)
        if pending is not None and pending[1] == wanted:
            return pending[2]
        # Most follow with an account just opened, which holds none.
        is_held = account < shard.accounts.count
        held = self._subscriptions(account, creator_shard, creator) if is_held else []
        # A repeated command is answered as before, whatever followed upon it.
        for book, row in held:
            if int(book.subscriptions["command"][row]) == wanted:
                return Followed(
                    int(book.subscriptions["subscription"][row]),
                    int(book.subscriptions["from_frame"][row]),
                )
        if pending is not None or any(
            book.subscriptions["status"][row] != Status.ENDED for book, row in held
        ):
            return self._subscribed(command)
        answer = Followed(shard.places.count + len(self._follows), self._next_frame(creator_shard))
        self._follows[key] = command, wanted, answer
        self._rows += ROWS_OF_OPENED
        return answer

    @staticmethod
    def _subscribed(command: Follow) -> Refused:
        return Refused(
            "subscription_exists",
            f"account {command.account_id}: expected none, found a "
            f"subscription to {command.creator_id} not yet over",
        )

    def _next_frame(self, creator_shard: int) -> int:
        cursor = self._shard.cursors.get((Source.CREATOR_JOURNAL, creator_shard))
        return cursor.number + 1 if cursor else 1

    def _subscriptions(
        self, account: int, creator_shard: int, creator: int
    ) -> list[tuple[Book, int]]:
        """Find an account's subscriptions to a creator, newest first."""
        held = self._held.get(account)
        if held is None:
            held = self._held[account] = self._all_subscriptions(account)
        return held.get((creator_shard, creator), [])

    def _all_subscriptions(self, account: int) -> dict[tuple[int, int], list[tuple[Book, int]]]:
        """Find an account's subscriptions by their creators. Cost: all of them, so once for many
        commands of one account.
        """
        shard = self._shard
        held: dict[tuple[int, int], list[tuple[Book, int]]] = {}
        is_open = account < shard.accounts.count
        number = int(shard.accounts["last_subscription"][account]) if is_open else NOTHING
        while number != NOTHING:
            book = shard.books[int(shard.places["book"][number])]
            pair = book.creator_shard, book.creator
            held.setdefault(pair, []).append((book, int(shard.places["row"][number])))
            number = int(shard.places["previous"][number])
        return held

    def _flush_follows(self) -> SubscriptionsOpened:
        keys, follows = list(self._follows), list(self._follows.values())
        self._follows = {}

        def column(values: Iterator[int]) -> NDArray[np.int64]:
            return np.fromiter(values, np.int64, len(follows))

        commands = [command for command, _, _ in follows]
        return SubscriptionsOpened(
            first=self._shard.places.count,
            accounts=column(account for account, _, _ in keys),
            creator_shards=column(creator_shard for _, creator_shard, _ in keys),
            creators=column(creator for _, _, creator in keys),
            modes=column(command.mode for command in commands),
            ratios=column(command.ratio for command in commands),
            amounts=column(command.amount for command in commands),
            max_order_notionals=column(command.max_order_notional for command in commands),
            max_weights=column(command.max_position_weight for command in commands),
            allow_short=column(int(command.allow_short) for command in commands),
            cash=column(command.cash for command in commands),
            from_frames=column(followed.from_frame for _, _, followed in follows),
            commands=column(wanted for _, wanted, _ in follows),
        )

    # Unfollowing.

    def _pair(self, command: Unfollow | Pause | Resume) -> _Pair | Refused | Elsewhere:
        account, home = self._account(command.account_id)
        if account is None:
            return self._unknown_account(command)
        if home != self._shard.shard:
            return Elsewhere(home, self._broker_of(command.account_id, account))
        return account, *self._creator(command)

    def _unfollow(self, command: Unfollow) -> Answer:
        wanted, key = hash_64(command.command_id), self._pair(command)
        if isinstance(key, Refused | Elsewhere):
            return key
        pending = self._unfollows.get(key)
        if pending is not None and pending.command == wanted:
            return Unfollowed(pending.subscription, pending.until_frame)
        held = self._subscriptions(*key)
        # A repeated command is answered as before; it does not end what was followed anew since.
        for book, row in held:
            table = book.subscriptions
            if table["status"][row] >= Status.ENDING and int(table["end_command"][row]) == wanted:
                return Unfollowed(int(table["subscription"][row]), int(table["until_frame"][row]))
        for book, row in held:
            if book.subscriptions["status"][row] < Status.ENDING and pending is None:
                number = int(book.subscriptions["subscription"][row])
                self._unfollows[key] = Ending(number, self._next_frame(key[1]), wanted)
                weight = 1 if key[1:] in self._ending_creators else ROWS_OF_CLOSING
                self._ending_creators.add(key[1:])
                self._rows += 1 + weight * len(book.slots)
                return Unfollowed(number, self._next_frame(key[1]))
        return self._no_subscription(command)

    @staticmethod
    def _no_subscription(command: Unfollow | Pause | Resume) -> Refused:
        return Refused(
            "unknown_subscription",
            f"account {command.account_id}: expected a subscription to "
            f"{command.creator_id}, found none that goes on",
        )

    def _flush_unfollows(self, terms: CopyPolicy, event_time_ns: int) -> Iterator[Any]:
        endings, self._unfollows = list(self._unfollows.values()), {}
        self._ending_creators.clear()
        yield from end_subscriptions(self._shard, endings, terms, event_time_ns)

    # Pausing and resuming.

    def _pause(self, command: Pause | Resume) -> Answer:
        wanted, key = hash_64(command.command_id), self._pair(command)
        if isinstance(key, Refused | Elsewhere):
            return key
        column, answer = (
            ("pause_command", Paused) if isinstance(command, Pause) else ("resume_command", Resumed)
        )
        held = self._subscriptions(*key)
        # A repeated command is answered as before; what has been commanded since stands.
        for book, row in held:
            if int(book.subscriptions[column][row]) == wanted:
                return answer(int(book.subscriptions["subscription"][row]))
        for book, row in held:
            if book.subscriptions["status"][row] < Status.ENDING:
                number = int(book.subscriptions["subscription"][row])
                self._pauses[key] = type(command), number, wanted
                self._rows += 1
                return answer(number)
        return self._no_subscription(command)

    def _flush_pauses(self) -> Iterator[SubscriptionsPaused | SubscriptionsResumed]:
        gathered, self._pauses = list(self._pauses.values()), {}
        for kind, event in ((Pause, SubscriptionsPaused), (Resume, SubscriptionsResumed)):
            columns = np.array(
                [[number, wanted] for of, number, wanted in gathered if of is kind], np.int64
            )
            if len(columns):
                yield event(columns[:, 0].copy(), columns[:, 1].copy())
