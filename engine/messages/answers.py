"""Answers to commands, one type per outcome."""

from typing import NamedTuple

from engine.values.refusals import Refused

POISON_TEXT = (
    "command: expected one that can be decided, found one quarantined for "
    "crashing its shard; use another command_id"
)


class CreatorOpened(NamedTuple):
    """Answer: the creator is open."""

    creator_id: str


class EntriesAllowed(NamedTuple):
    """Answer: the creator is no longer suspended. `quarantined` counts the messages and fills that
    were settled.
    """

    creator_id: str
    quarantined: int


class AccountOpened(NamedTuple):
    """Answer: the account is open in `shard`."""

    account_id: str
    shard: int


class Followed(NamedTuple):
    """Answer: the subscription copies signals from frame `from_frame` of the creator's shard on."""

    subscription: int
    from_frame: int


class Unfollowed(NamedTuple):
    """Answer: the subscription copies no signal from frame `until_frame` of the creator's shard
    on.
    """

    subscription: int
    until_frame: int


class Paused(NamedTuple):
    """Answer: the subscription takes no increases."""

    subscription: int


class Resumed(NamedTuple):
    """Answer: the subscription takes increases again."""

    subscription: int


class Resolved(NamedTuple):
    """Answer: the order is as the operator said."""

    order_id: str


class Elsewhere(NamedTuple):
    """No answer yet: the account has the dedicated shard `shard`, which will answer. The account
    trades at `broker`.
    """

    shard: int
    broker: str


Answer = (
    CreatorOpened
    | EntriesAllowed
    | AccountOpened
    | Followed
    | Unfollowed
    | Paused
    | Resumed
    | Resolved
    | Refused
    | Elsewhere
)
