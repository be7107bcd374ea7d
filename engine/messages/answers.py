"""Answers to commands, one type for each outcome."""

from typing import NamedTuple

from engine.values.refusals import Refused

POISON_TEXT = (
    "command: expected one that can be decided, found one parked for "
    "crashing its shard; use another command_id"
)


class CreatorOpened(NamedTuple):
    """Answer: the creator is open."""

    creator_id: str


class EntriesAllowed(NamedTuple):
    """Answer: the creator is suspended no more. `quarantined` counts its messages or fills that
    were settled.
    """

    creator_id: str
    quarantined: int


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


class Paused(NamedTuple):
    """Answer: the subscription takes no increases."""

    subscription: int


class Resumed(NamedTuple):
    """Answer: the subscription takes increases."""

    subscription: int


class Elsewhere(NamedTuple):
    """No answer yet: the account has a shard to itself, `shard`, which answers. The account trades
    at `broker`.
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
    | Refused
    | Elsewhere
)
