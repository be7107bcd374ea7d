"""Commands to creator and follower shards."""

import msgspec

from engine.values.copy_mode import Mode


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


class OpenAccount(msgspec.Struct, frozen=True, tag="open_account", gc=False):
    """Open a follower account at a broker; `dedicated` gives it an actor of its own."""

    command_id: str
    account_id: str
    broker: str = "paper"
    dedicated: bool = False


class Follow(msgspec.Struct, frozen=True, tag="follow", gc=False):
    """Subscribe an account to a creator with cash of its own. Units: micros; a limit of 0 is
    none.
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
    """Close every position of a subscription; then it is over."""

    command_id: str
    account_id: str
    creator_id: str


class Pause(msgspec.Struct, frozen=True, tag="pause", gc=False):
    """Take no increases for a subscription; its exits go on."""

    command_id: str
    account_id: str
    creator_id: str


class Resume(msgspec.Struct, frozen=True, tag="resume", gc=False):
    """Take increases for a paused subscription again."""

    command_id: str
    account_id: str
    creator_id: str


AccountCommand = OpenAccount | Follow | Unfollow | Pause | Resume


CreatorCommand = OpenCreator | ResumeCreator


def name_of(command: AccountCommand) -> str:
    """Name a command as a parked input is named: what makes it the same when it is sent again."""
    return f"commands.account.{command.account_id} {command.command_id}"
