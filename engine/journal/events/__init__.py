"""Events: everything that a shard's journal records, one section type per kind, in the past tense.
Nothing here decides or applies.

State changes only by applying these events, in the same way live and on replay (P6). They record
what was decided, so old frames replay the same under newer rules. Creators and instruments are
numbered per creator shard, accounts and subscriptions per follower shard. No number is ever reused.
A text is recorded once, when its number is introduced. Units: see `engine.values.units`. Sides are
+1 buy and -1 sell.

    shard           of any shard: its owners, the inputs it refused or gave up
    creator         of a creator shard: instruments, creators, fills
    subscriptions   of a follower shard: whom it knows, who copies whom
    orders          of a follower shard: what it decided, and what brokers reported
    gateway         of a broker's gateway: what became of the orders in its hands
"""

from engine.columns.section_types import tags
from engine.journal.events import creator, gateway, orders, shard, subscriptions

EVENT_TYPES = tags(
    shard.OwnerFenced,
    shard.InputAttempted,
    shard.InputQuarantined,
    shard.InputsRefused,
    creator.InstrumentsListed,
    creator.CreatorsOpened,
    creator.MarksUpdated,
    creator.MarkSourceChosen,
    creator.BrokerMarksUpdated,
    creator.FillApplied,
    creator.FillCorrected,
    creator.CreatorSuspended,
    creator.CreatorResumed,
    subscriptions.CreatorsLearned,
    subscriptions.InstrumentsLearned,
    subscriptions.AccountsOpened,
    subscriptions.SubscriptionsOpened,
    subscriptions.SubscriptionsEnding,
    subscriptions.SubscriptionsEnded,
    subscriptions.SubscriptionsPaused,
    subscriptions.SubscriptionsResumed,
    subscriptions.EntriesSuspended,
    subscriptions.EntriesResumed,
    orders.SignalDecided,
    orders.OrdersPlaced,
    orders.CancelsRequested,
    orders.FollowUpsQueued,
    orders.ExecutionsApplied,
    orders.TradesCorrected,
    orders.LaterAttemptsFound,
    orders.OrderResolved,
    orders.OrdersUnanswered,
    gateway.BlocksAnswered,
    gateway.OrdersRevoked,
    gateway.FramesTaken,
    gateway.SubmissionStarted,
    gateway.SubmissionSettled,
    gateway.OrdersUnresolved,
)
"""Every event by its tag."""
