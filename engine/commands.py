"""What a follower shard does about commands: open accounts, follow, unfollow; many at once, each answered in its place.

A command is the same command when its id is the same: what it did is found again and answered again, never done twice.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.book import Book, Mode, OrderKey, Slot, Status
from engine.creator import Refused
from engine.decide import cancel_open, end_finished, has_open_entry, placed
from engine.events import AccountsOpened, FollowUpsQueued, SubscriptionsEnding, SubscriptionsOpened
from engine.follower import NOTHING, FollowerShard
from engine.frame import Source
from engine.identity import CauseKind, shard_of
from engine.sizing import Terms, size_toward_target
from engine.tables import hash_64

POISON_TEXT = "command: expected one that can be decided, found one parked for crashing its shard; use another command_id"


class OpenCreator(msgspec.Struct, frozen=True, tag="open_creator"):
    """Open a creator with cash; its fills come from one broker. Units: micros."""

    command_id: str
    creator_id: str
    cash: int
    broker: str = "paper"


class ResumeCreator(msgspec.Struct, frozen=True, tag="resume_creator"):
    """End a creator's suspension: its parked fills are decided now, in order, or void."""

    command_id: str
    creator_id: str
    is_replay: bool


class OpenAccount(msgspec.Struct, frozen=True, tag="open_account"):
    """Open a follower account at a broker; `dedicated` gives it an actor of its own."""

    command_id: str
    account_id: str
    broker: str = "paper"
    dedicated: bool = False


class Follow(msgspec.Struct, frozen=True, tag="follow"):
    """Subscribe an account to a creator with cash of its own. Units: micros; a limit of 0 is none."""

    command_id: str
    account_id: str
    creator_id: str
    cash: int
    mode: int = Mode.PROPORTIONAL
    ratio: int = 1_000_000
    amount: int = 0
    max_order_notional: int = 0
    max_position_weight: int = 0
    allow_short: bool = False


class Unfollow(msgspec.Struct, frozen=True, tag="unfollow"):
    """Close every position of a subscription; then it is over."""

    command_id: str
    account_id: str
    creator_id: str


AccountCommand = OpenAccount | Follow | Unfollow
CreatorCommand = OpenCreator | ResumeCreator


def name_of(command: AccountCommand) -> str:
    """Name a command as a parked input is named: what makes it the same when it is sent again."""
    return f"commands.account.{command.account_id} {command.command_id}"


class CreatorOpened(NamedTuple):
    """Answer: the creator is open."""

    creator_id: str


class Resumed(NamedTuple):
    """Answer: so many parked messages or fills of the creator were settled."""

    creator_id: str
    parked: int


class AccountOpened(NamedTuple):
    """Answer: the account is open in `shard`."""

    account_id: str
    shard: int


class Followed(NamedTuple):
    """Answer: the subscription counts from creator-shard frame `from_frame` on."""

    subscription: int
    from_frame: int


class Unfollowed(NamedTuple):
    """Answer: no signal from creator-shard frame `until_frame` on counts."""

    subscription: int
    until_frame: int


class Elsewhere(NamedTuple):
    """Not answered here: the account lives in a shard of its own, `shard`, and trades at `broker`."""

    shard: int
    broker: str


Answer = CreatorOpened | Resumed | AccountOpened | Followed | Unfollowed | Refused | Elsewhere


class CommandBatch:
    """Decides one batch of commands against a shard; `answers` are in the order of the commands.

    New accounts are gathered into one event and new subscriptions into another, until a command needs them applied.
    """

    def __init__(
        self, shard: FollowerShard, *, creator_shards: int, follower_shards: int, brokers: frozenset[str]
    ) -> None:
        self._shard = shard
        self._creator_shards = creator_shards
        self._follower_shards = follower_shards
        self._brokers = brokers
        self._accounts: dict[str, tuple[OpenAccount, int, int, int]] = {}
        self._follows: dict[tuple[int, int, int], tuple[Follow, int, int]] = {}
        self._given_away = 0

    def decide(self, commands: list[AccountCommand], terms: Terms, event_time_ns: int) -> Iterator[Any]:
        """Decide commands in order: yields events to apply at once, and an `Answer` for each command, in order."""
        parking = self._shard.parking
        for command in commands:
            if parking.commands and parking.holds(name_of(command)):
                yield Refused("poison", POISON_TEXT)
            elif isinstance(command, OpenAccount):
                yield self._open(command)
            elif isinstance(command, Follow):
                yield self._follow(command)
            else:
                yield from self._flush()
                yield from self._unfollow(command, terms, event_time_ns)
        yield from self._flush()

    def _flush(self) -> Iterator[Any]:
        if self._accounts:
            yield self._flush_accounts()
        if self._follows:
            yield self._flush_follows()

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
            return Refused("unknown_broker", f"broker: expected one of {known}, found {command.broker!r}")
        home = (
            self._next_dedicated()
            if command.dedicated and shard.shard < self._follower_shards
            else shard.shard
        )
        self._accounts[command.account_id] = (
            command,
            wanted,
            home,
            len(shard.account_ids) + len(self._accounts),
        )
        return AccountOpened(command.account_id, home)

    @staticmethod
    def _account_exists(command: OpenAccount) -> Refused:
        return Refused(
            "account_exists",
            f"account {command.account_id}: expected an id not yet open, found it open by another command",
        )

    def _account(self, account_id: str) -> tuple[int | None, int]:
        """Find an account, also one opened in this batch. Returns: its number and the shard it lives in."""
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
        self._given_away += 1
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
            return Refused(
                "unknown_account", f"account_id: expected an open account, found {command.account_id!r}"
            )
        if home != shard.shard:
            return Elsewhere(home, self._broker_of(command.account_id, account))
        creator_shard = shard_of(command.creator_id, self._creator_shards)
        creator = shard.creators.get((creator_shard, command.creator_id))
        if creator is None:
            return Refused(
                "unknown_creator", f"creator_id: expected an open creator, found {command.creator_id!r}"
            )
        wanted = hash_64(command.command_id)
        key = (account, creator_shard, creator)
        pending = self._follows.get(key)
        if pending is not None and pending[1] == wanted:
            return Followed(shard.places.count + list(self._follows).index(key), pending[2])
        held = list(self._subscriptions(account, creator_shard, creator))
        # A repeated command is answered as before, whatever followed upon it.
        for book, row in held:
            if int(book.subscriptions["command"][row]) == wanted:
                return Followed(
                    int(book.subscriptions["subscription"][row]), int(book.subscriptions["from_frame"][row])
                )
        if pending is not None or any(
            book.subscriptions["status"][row] != Status.ENDED for book, row in held
        ):
            return self._subscribed(command)
        self._follows[key] = command, wanted, self._next_frame(creator_shard)
        return Followed(shard.places.count + len(self._follows) - 1, self._next_frame(creator_shard))

    @staticmethod
    def _subscribed(command: Follow) -> Refused:
        return Refused(
            "subscription_exists",
            f"account {command.account_id}: expected none, found a subscription to {command.creator_id} not yet over",
        )

    def _next_frame(self, creator_shard: int) -> int:
        cursor = self._shard.cursors.get((Source.CREATOR_JOURNAL, creator_shard))
        return cursor.number + 1 if cursor else 1

    def _subscriptions(self, account: int, creator_shard: int, creator: int) -> Iterator[tuple[Book, int]]:
        """Find an account's subscriptions to a creator, newest first."""
        shard = self._shard
        number = (
            int(shard.accounts["last_subscription"][account]) if account < shard.accounts.count else NOTHING
        )
        while number != NOTHING:
            book = shard.books[int(shard.places["book"][number])]
            if book.creator_shard == creator_shard and book.creator == creator:
                yield book, int(shard.places["row"][number])
            number = int(shard.places["previous"][number])

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
            from_frames=column(frame for _, _, frame in follows),
            commands=column(wanted for _, wanted, _ in follows),
        )

    # Unfollowing.

    def _unfollow(self, command: Unfollow, terms: Terms, event_time_ns: int) -> Iterator[Any]:
        shard = self._shard
        account = shard.account_ids.find(command.account_id)
        if account is None:
            yield Refused(
                "unknown_account", f"account_id: expected an open account, found {command.account_id!r}"
            )
            return
        if self.home_of(account) != shard.shard:
            yield Elsewhere(self.home_of(account), shard.brokers[int(shard.accounts["broker"][account])])
            return
        creator_shard = shard_of(command.creator_id, self._creator_shards)
        creator = shard.creators.get((creator_shard, command.creator_id), -1)
        wanted = hash_64(command.command_id)
        held = list(self._subscriptions(account, creator_shard, creator))
        # A repeated command is answered as before; it does not end what was followed anew since.
        for book, row in held:
            table = book.subscriptions
            if table["status"][row] >= Status.ENDING and int(table["end_command"][row]) == wanted:
                yield Unfollowed(int(table["subscription"][row]), int(table["until_frame"][row]))
                return
        for book, row in held:
            if book.subscriptions["status"][row] < Status.ENDING:
                until = self._next_frame(creator_shard)
                yield from self._end(book, row, until, wanted, terms, event_time_ns)
                yield Unfollowed(int(book.subscriptions["subscription"][row]), until)
                return
        yield Refused(
            "unknown_subscription",
            f"account {command.account_id}: expected a subscription to {command.creator_id}, found none to end",
        )

    def _end(
        self, book: Book, row: int, until: int, wanted: int, terms: Terms, event_time_ns: int
    ) -> Iterator[Any]:
        cause = self._shard.next_cause
        one = np.array([int(book.subscriptions["subscription"][row])], np.int64)
        yield SubscriptionsEnding(cause, one, np.array([until], np.int64), np.array([wanted], np.int64))
        rows = np.array([row], np.int64)
        for slot in book.slots:
            if not slot.position[row] and not slot.open[row] and not slot.follow_ups:
                continue
            yield from self._close(book, slot, rows, cause, terms, event_time_ns)
        yield from end_finished(self._shard, book, rows)

    def _close(
        self, book: Book, slot: Slot, rows: NDArray[np.int64], cause: int, terms: Terms, event_time_ns: int
    ) -> Iterator[Any]:
        key, row = OrderKey(CauseKind.COMMAND, 0, cause, slot.index, 0), int(rows[0])
        open_ = int(slot.open[row])
        is_passing_flat = (int(slot.position[row]) + open_) * open_ > 0
        if (
            is_passing_flat
            or slot.waiting(row, row + 1) is not None
            or has_open_entry(self._shard, slot, row)
        ):
            # What opens, or would go through flat, is cancelled first; what is held by then is closed when that is answered.
            yield from cancel_open(self._shard, book, slot, rows)
            one = book.subscriptions["subscription"][rows].astype(np.int64)
            after = key._replace(attempt=1)
            yield FollowUpsQueued(
                book.creator_shard, book.creator, slot.instrument, *after, slot.mark, event_time_ns, 0, one
            )
        else:
            groups = size_toward_target(
                book, slot, rows, terms, price=slot.mark, symbol="", transact_time=event_time_ns, event_time_ns=event_time_ns,
                may_enter=False,
            )  # fmt: skip
            for chosen, decisions in groups:
                yield placed(
                    book,
                    slot,
                    key,
                    chosen,
                    decisions,
                    terms,
                    price=slot.mark,
                    transact_time=event_time_ns,
                    event_time_ns=event_time_ns,
                )
