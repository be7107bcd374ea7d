"""Events of a follower shard's journal: whom it knows, and who copies whom on which terms."""

from typing import ClassVar

from engine.columns.sections import Ascending, Column, Section, Texts


class CreatorsLearned(Section, frozen=True):
    """A follower shard learned of creators from a creator shard's journal."""

    TAG: ClassVar[int] = 20
    creator_shard: int
    numbers: Ascending
    ids: Texts


class InstrumentsLearned(Section, frozen=True):
    """A follower shard learned of instruments from a creator shard's journal."""

    TAG: ClassVar[int] = 21
    creator_shard: int
    numbers: Ascending
    symbols: Texts
    lots: Column
    min_notionals: Column


class AccountsOpened(Section, frozen=True):
    """Accounts began with numbers from `first`; `broker_of` indexes `brokers`; `dedicated` is the
    shard given away to, or -1.
    """

    TAG: ClassVar[int] = 22
    first: int
    ids: Texts
    brokers: Texts
    broker_of: Column
    dedicated: Column
    commands: Column


class SubscriptionsOpened(Section, frozen=True):
    """Subscriptions began with numbers from `first`; each counts from the creator-shard frame in
    `from_frames`.

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
    """Unfollowed: from creator-shard frame `until_frames` on no signal counts; every position is
    being closed.

    `cause` numbers the closing orders' cause in this shard (CauseKind.COMMAND).
    """

    TAG: ClassVar[int] = 24
    cause: int
    subscriptions: Column
    until_frames: Column
    commands: Column


class SubscriptionsEnded(Section, frozen=True):
    """An ending subscription holds nothing and has nothing open: it is over."""

    TAG: ClassVar[int] = 25
    subscriptions: Column


class SubscriptionsPaused(Section, frozen=True):
    """Subscriptions take no increases from here on; exits go on. `commands` are 64-bit hashes of
    the command ids.
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
    """A follower shard copies no entries of a creator any more. `signal` is the quarantined one,
    which moves nothing in this shard; 0 when it was the creator's shard that suspended.
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
