"""The common ground of the commands of one batch: it finds the accounts, creators and
subscriptions that they name, and counts the rows gathered so far.

Each kind of command has a module of its own and a `CommandDecider` in it. The table of them is in
`engine.follower.decide.commands`.
"""

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple, Protocol, TypeVar

from engine.follower.book import Book, SubscriptionStatus
from engine.follower.deciding import Deciding
from engine.follower.state import NOTHING
from engine.journal.cursors import Source
from engine.messages.answers import Answer, Elsewhere
from engine.messages.commands import AccountCommand, OpenAccount, SubscriptionCommand
from engine.values.ids import shard_of
from engine.values.refusals import Refused

ROWS_OF_OPENED = 4
"""The weight of an account or a subscription among rows of a few numbers: it has a dozen columns,
or an id of up to 64 characters.
"""

Pair = tuple[int, int, int]
"""An account's number, a creator shard, and the creator's number in it."""
NOT_OPEN = -1
"""The number of a creator that is not open, in the last place of a pair."""
Place = tuple[Book, int]
"""Where a subscription stands: its creator's book, and a row there."""

C = TypeVar("C", bound=AccountCommand, contravariant=True)
T = TypeVar("T")


class CommandDecider(Protocol[C, T]):
    """One kind of command in one batch: decides the commands one by one, and gathers what they
    change until it is applied.
    """

    @property
    def waits_for(self) -> tuple[type[AccountCommand], ...]:
        """The kinds of commands that must be applied first where they are about the same target."""
        ...

    @property
    def gathered(self) -> Collection[object]:
        """The targets of the commands that are decided and not yet applied."""
        ...

    def locate(self, command: C) -> T | Refused | Elsewhere:
        """Find what a command is about."""
        ...

    def find_repeat(self, command: C, target: T, command_hash: int) -> Answer | None:
        """Return the answer of an earlier command with the same id, if there is one."""
        ...

    def decide(self, command: C, target: T, command_hash: int) -> Answer:
        """Decide a new command, and gather what it changes."""
        ...

    def flush(self) -> Iterator[Any]:
        """Yield the events of what is gathered; from then on nothing is."""
        ...


class ClusterShape(NamedTuple):
    """The numbers of creator and follower shards, and the brokers that take accounts."""

    creator_shards: int
    follower_shards: int
    brokers: frozenset[str]


class NewAccount(NamedTuple):
    """An account that is opened in this batch: its command and the hash of the command's id, the
    shard it lives in, and its number.
    """

    command: OpenAccount
    command_hash: int
    home: int
    number: int


class CommandScope:
    """The accounts, creators and subscriptions that the commands of one batch name.

    `rows` estimates the rows of a few numbers that the events gathered so far will write.
    `new_accounts` are opened in this batch and not yet applied.
    """

    def __init__(self, deciding: Deciding, cluster: ClusterShape) -> None:
        self.deciding = deciding
        self.state = deciding.state
        self.cluster = cluster
        self.rows = 0
        self.new_accounts: dict[str, NewAccount] = {}
        self._held: dict[int, dict[tuple[int, int], list[Place]]] = {}
        """By account and creator, the subscriptions that are applied."""

    def begin(self) -> None:
        """Forget what changes once the events gathered are applied."""
        self.rows = 0
        self._held.clear()

    def locate(self, command: SubscriptionCommand) -> Pair | Refused | Elsewhere:
        """Find the account and the creator of a command. A creator that is not known has the
        number `NOT_OPEN`.
        """
        account = self.locate_account(command)
        if not isinstance(account, int):
            return account
        creator_shard = shard_of(command.creator_id, self.cluster.creator_shards)
        creator = self.state.creators.get((creator_shard, command.creator_id), NOT_OPEN)
        return account, creator_shard, creator

    def locate_account(self, command: AccountCommand) -> int | Refused | Elsewhere:
        """Find the account of a command."""
        account_id = command.account_id
        new = self.new_accounts.get(account_id)
        account = self.state.account_ids.find(account_id) if new is None else new.number
        if account is None:
            return Refused(
                "unknown_account", f"account_id: expected an open account, found {account_id!r}"
            )
        home = self.home_of(account) if new is None else new.home
        if home != self.state.shard:
            return Elsewhere(home, self.broker_of(account) if new is None else new.command.broker)
        return account

    def home_of(self, account: int) -> int:
        """Return the shard that an account lives in."""
        dedicated = int(self.state.accounts["dedicated"][account])
        return dedicated if dedicated >= 0 else self.state.shard

    def broker_of(self, account: int) -> str:
        """Return the broker that an account trades at."""
        return self.state.brokers[int(self.state.accounts["broker"][account])]

    def next_frame(self, creator_shard: int) -> int:
        """Return the number of the first frame of a creator shard that is not yet taken."""
        cursor = self.state.cursors.get((Source.CREATOR_JOURNAL, creator_shard))
        return cursor.number + 1 if cursor else 1

    def subscriptions(self, pair: Pair) -> list[Place]:
        """Find an account's subscriptions to a creator, newest first."""
        account = pair[0]
        held = self._held.get(account)
        if held is None:
            held = self._held[account] = self._all_subscriptions(account)
        return held.get(pair[1:], [])

    def find_active(self, pair: Pair) -> Place | None:
        """Find an account's subscription to a creator that is not ending."""
        for book, row in self.subscriptions(pair):
            if book.subscriptions["status"][row] < SubscriptionStatus.ENDING:
                return book, row
        return None

    def _all_subscriptions(self, account: int) -> dict[tuple[int, int], list[Place]]:
        """Find an account's subscriptions by their creators. Cost: all of them, so once for many
        commands of one account.
        """
        state = self.state
        held: dict[tuple[int, int], list[Place]] = {}
        is_open = account < state.accounts.count
        number = int(state.accounts["last_subscription"][account]) if is_open else NOTHING
        while number != NOTHING:
            book = state.books[int(state.places["book"][number])]
            pair = book.creator_shard, book.creator
            held.setdefault(pair, []).append((book, int(state.places["row"][number])))
            number = int(state.places["previous"][number])
        return held


def no_subscription(command: SubscriptionCommand) -> Refused:
    """Refuse a command about a subscription that is not there, or is ending."""
    return Refused(
        "unknown_subscription",
        f"account {command.account_id}: expected a subscription to "
        f"{command.creator_id}, found none that goes on",
    )
