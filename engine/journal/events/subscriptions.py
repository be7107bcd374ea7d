"""Events of a follower shard's journal: creators, instruments and accounts that it knows, and
subscriptions.
"""

from typing import ClassVar

from engine.columns.section_types import Ascending, Column, Section, Texts


class CreatorsLearned(Section, frozen=True):
    """A follower shard learned creators from a creator shard's journal."""

    TAG: ClassVar[int] = 20
    creator_shard: int
    numbers: Ascending
    ids: Texts


class InstrumentsLearned(Section, frozen=True):
    """A follower shard learned instruments from a creator shard's journal."""

    TAG: ClassVar[int] = 21
    creator_shard: int
    numbers: Ascending
    symbols: Texts
    lots: Column
    min_notionals: Column


class AccountsOpened(Section, frozen=True):
    """Accounts were opened with numbers from `first`. `broker_of` indexes `brokers`. `dedicated` is
    the dedicated shard that an account lives in, or -1.
    """

    TAG: ClassVar[int] = 22
    first: int
    ids: Texts
    brokers: Texts
    broker_of: Column
    dedicated: Column
    commands: Column


class SubscriptionsOpened(Section, frozen=True):
    """Subscriptions were opened with numbers from `first`. Each copies signals from the frame in
    `from_frames` of the creator's shard on.

    `modes` are `engine.values.copy_mode.Mode`, `ratios` micros, `amounts`, `max_order_notionals`
    and `cash` micros (0 = no limit), `max_weights` micros (0 = no limit), `allow_short` 0 or 1.
    """

    TAG: ClassVar[int] = 23
    first: int
    accounts: Column
    creator_shards: Column
    creators: Column
    modes: Column
    ratios: Column
    amounts: Column
    max_order_notionals: Column
    max_weights: Column
    allow_short: Column
    cash: Column
    from_frames: Column
    commands: Column


class SubscriptionsEnding(Section, frozen=True):
    """Subscriptions were unfollowed: no signal from the frame in `until_frames` of the creator's
    shard on is copied, and every position is being closed.

    `cause` is the number of the closing orders' cause in this shard (CauseKind.COMMAND).
    """

    TAG: ClassVar[int] = 24
    cause: int
    subscriptions: Column
    until_frames: Column
    commands: Column


class SubscriptionsEnded(Section, frozen=True):
    """Ending subscriptions hold nothing and have nothing open: they are over."""

    TAG: ClassVar[int] = 25
    subscriptions: Column


class SubscriptionsPaused(Section, frozen=True):
    """Subscriptions take no increases from here on. Exits are still copied. `commands` are 64-bit
    hashes of the command ids.
    """

    TAG: ClassVar[int] = 35
    subscriptions: Column
    commands: Column


class SubscriptionsResumed(Section, frozen=True):
    """Paused subscriptions take increases again."""

    TAG: ClassVar[int] = 36
    subscriptions: Column
    commands: Column


class EntriesSuspended(Section, frozen=True):
    """A follower shard copies no entries of a creator any more. `signal` is the quarantined signal,
    which moves nothing in this shard. It is 0 if the creator's shard suspended the creator.
    """

    TAG: ClassVar[int] = 37
    creator_shard: int
    creator: int
    signal: int


class EntriesResumed(Section, frozen=True):
    """A follower shard copies a creator's entries again, from its next signal on."""

    TAG: ClassVar[int] = 38
    creator_shard: int
    creator: int
