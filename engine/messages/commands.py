"""Commands to creator and follower shards, and the table in which every layer looks them up.

A new command is a struct here, a member of one of the unions, and a row in `COMMANDS`.
"""

from typing import Any, NamedTuple

import msgspec

from engine.journal.frame import ShardKind
from engine.messages.answers import (
    AccountOpened,
    CreatorOpened,
    EntriesAllowed,
    Followed,
    Paused,
    Resolved,
    Resumed,
    Unfollowed,
)
from engine.values.copy_mode import Mode
from engine.values.order_ids import OrderId


class OpenCreator(msgspec.Struct, frozen=True, tag="open_creator"):
    """Open a creator with cash. All its fills come from one broker. Units: micros."""

    command_id: str
    creator_id: str
    cash: int
    broker: str = "paper"


class ResumeCreator(msgspec.Struct, frozen=True, tag="resume_creator"):
    """End a creator's suspension: its quarantined fills are decided in order, or voided."""

    command_id: str
    creator_id: str
    is_replay: bool


class OpenAccount(msgspec.Struct, frozen=True, tag="open_account", gc=False):
    """Open a follower account at a broker. `dedicated` gives it a shard of its own."""

    command_id: str
    account_id: str
    broker: str = "paper"
    dedicated: bool = False


class Follow(msgspec.Struct, frozen=True, tag="follow", gc=False):
    """Subscribe an account to a creator, with cash of its own. Units: micros. A limit of 0 is no
    limit.
    """

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


class Unfollow(msgspec.Struct, frozen=True, tag="unfollow", gc=False):
    """Close every position of a subscription, and end it."""

    command_id: str
    account_id: str
    creator_id: str


class Pause(msgspec.Struct, frozen=True, tag="pause", gc=False):
    """Take no increases for a subscription. Exits are still copied."""

    command_id: str
    account_id: str
    creator_id: str


class Resume(msgspec.Struct, frozen=True, tag="resume", gc=False):
    """Take increases for a paused subscription again."""

    command_id: str
    account_id: str
    creator_id: str


class ResolveOrder(msgspec.Struct, frozen=True, tag="resolve_order", gc=False):
    """Take an operator's word on an open order, as if the broker had reported it. `exec_type` is
    `engine.values.order_status.ExecType`: canceled, or a trade of `last_qty` at `last_px`. `text`
    says why. Units: micros, quantities 1e-8.
    """

    command_id: str
    account_id: str
    order_id: OrderId
    exec_type: int
    last_qty: int = 0
    last_px: int = 0
    fee: int = 0
    text: str = ""


SubscriptionCommand = Follow | Unfollow | Pause | Resume
AccountCommand = OpenAccount | SubscriptionCommand | ResolveOrder
CreatorCommand = OpenCreator | ResumeCreator
Command = CreatorCommand | AccountCommand


class CommandKind(NamedTuple):
    """One kind of command, with what every layer must know about it."""

    taken_by: ShardKind
    """The kind of shard that decides it: the creator's, or the account's."""
    answer: type
    """The type of its answer when it is not refused."""
    counts_from_frame: bool = False
    """True if its answer names a frame of the creator's journal. That journal is then read to its
    end before the command is decided (P2).
    """


COMMANDS: dict[type, CommandKind] = {
    OpenCreator: CommandKind(ShardKind.CREATOR, CreatorOpened),
    ResumeCreator: CommandKind(ShardKind.CREATOR, EntriesAllowed),
    OpenAccount: CommandKind(ShardKind.FOLLOWER, AccountOpened),
    Follow: CommandKind(ShardKind.FOLLOWER, Followed, counts_from_frame=True),
    Unfollow: CommandKind(ShardKind.FOLLOWER, Unfollowed, counts_from_frame=True),
    Pause: CommandKind(ShardKind.FOLLOWER, Paused),
    Resume: CommandKind(ShardKind.FOLLOWER, Resumed),
    ResolveOrder: CommandKind(ShardKind.FOLLOWER, Resolved),
}
"""Every kind of command. The deciders are in `engine.creator.commands` and
`engine.follower.decide.commands`, the JSON is in `gateways.json.commands`.
"""


def tag_of(kind: type) -> str:
    """Return the name of a kind of command in messages."""
    config: Any = kind.__struct_config__  # type: ignore[attr-defined]
    return str(config.tag)


def name_of(command: AccountCommand) -> str:
    """Return the name under which a command is quarantined. A repeat of it has the same name."""
    return f"commands.account.{command.account_id} {command.command_id}"
