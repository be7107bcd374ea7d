"""The command `open_account`: an account gets its number, and the shard that it lives in."""

from collections.abc import Collection, Iterator

import numpy as np

from engine.follower.decide.command_scope import ROWS_OF_OPENED, CommandScope, NewAccount
from engine.journal.events.subscriptions import AccountsOpened
from engine.messages.answers import AccountOpened, Answer
from engine.messages.commands import OpenAccount
from engine.values.ids import DEDICATED_SHARDS_MAX
from engine.values.refusals import Refused


class OpenAccounts:
    """The `open_account` commands of one batch. The accounts are kept in the scope, where the
    commands that follow find them.
    """

    waits_for = ()

    def __init__(self, scope: CommandScope) -> None:
        self._scope = scope
        self._state = scope.state
        self._new = scope.new_accounts
        self._given_away = 0

    @property
    def gathered(self) -> Collection[object]:
        """The ids of the accounts that are not yet applied."""
        return self._new

    def locate(self, command: OpenAccount) -> int | None:
        """Return the account's number, None where it is not open."""
        new = self._new.get(command.account_id)
        return self._state.account_ids.find(command.account_id) if new is None else new.number

    def find_repeat(
        self, command: OpenAccount, target: int | None, command_hash: int
    ) -> Answer | None:
        """Return the answer of the command that has opened the account, if it is this one."""
        if target is None:
            return None
        new = self._new.get(command.account_id)
        if new is not None:
            is_repeat, home = new.command.command_id == command.command_id, new.home
        else:
            is_repeat = int(self._state.accounts["command"][target]) == command_hash
            home = self._scope.home_of(target)
        return AccountOpened(command.account_id, home) if is_repeat else None

    def decide(self, command: OpenAccount, target: int | None, command_hash: int) -> Answer:
        """Open an account, unless another command has, or its broker is not known."""
        state, scope, account_id = self._state, self._scope, command.account_id
        if target is not None:
            return Refused(
                "account_exists",
                f"account {account_id}: expected an id not yet "
                "open, found it open by another command",
            )
        if command.broker not in scope.cluster.brokers:
            known = ", ".join(sorted(scope.cluster.brokers))
            return Refused(
                "unknown_broker", f"broker: expected one of {known}, found {command.broker!r}"
            )
        home = state.shard
        if command.dedicated and home < scope.cluster.follower_shards:
            home = self._next_dedicated()
            if home >= DEDICATED_SHARDS_MAX:
                return Refused(
                    "out_of_range",
                    f"dedicated: expected at most {DEDICATED_SHARDS_MAX} shards "
                    "in all, found no number for one more",
                )
            self._given_away += 1
        number = len(state.account_ids) + len(self._new)
        self._new[account_id] = NewAccount(command, command_hash, home, number)
        scope.rows += ROWS_OF_OPENED
        return AccountOpened(account_id, home)

    def _next_dedicated(self) -> int:
        given = int((self._state.accounts["dedicated"] >= 0).sum()) + self._given_away
        return self._scope.cluster.follower_shards * (1 + given) + self._state.shard

    def flush(self) -> Iterator[AccountsOpened]:
        """Yield one event of all new accounts."""
        opened = list(self._new.values())
        self._new.clear()
        self._given_away = 0
        shard = self._state.shard
        brokers = sorted({new.command.broker for new in opened})
        yield AccountsOpened(
            first=len(self._state.account_ids),
            ids=[new.command.account_id for new in opened],
            brokers=brokers,
            broker_of=np.array([brokers.index(new.command.broker) for new in opened], np.int64),
            dedicated=np.array([new.home if new.home != shard else -1 for new in opened], np.int64),
            commands=np.array([new.command_hash for new in opened], np.int64),
        )
