"""Events: everything a shard's journal can say, one section type each, past tense.

State changes by applying these and in no other way, live and on replay alike (P6): they record what was
decided, so old frames replay the same under newer rules. Numbers name things inside one shard: creators and
instruments per creator shard, accounts and subscriptions per follower shard; none is ever reused. Texts
stand here once, when a number is introduced. Units: see `engine.units`. Sides are +1 buy and -1 sell.
"""

from typing import ClassVar

from engine.sections import Ascending, Column, Section, Texts, tags


class OwnerFenced(Section, frozen=True):
    """A new owner took the shard: the first frame of an epoch, and nothing else is in it."""

    TAG: ClassVar[int] = 1
    incarnation: str


class InputAttempted(Section, frozen=True):
    """An input is about to be decided with nothing else in hand, for its shard crashed again and again: if
    fences follow and nothing else, this input was what the owner died of.

    `source` is `engine.frame.Source`, or 0 for a command, which has no place in a stream: its `subject` names
    it. `sequence` is the stream's; `position` and `row` say which part of the message.
    """

    TAG: ClassVar[int] = 2
    source: int
    shard: int
    sequence: int
    position: int
    row: int
    subject: str


class InputParked(Section, frozen=True):
    """An input was given up after it had crashed its shard `tries` times alone: it goes to the dead-letter
    stream and the shard goes on behind it. Fields as in `InputAttempted`.
    """

    TAG: ClassVar[int] = 3
    source: int
    shard: int
    sequence: int
    position: int
    row: int
    tries: int
    subject: str
    reason: str
    excerpt: str


class InstrumentsListed(Section, frozen=True):
    """A creator shard introduced instruments: `lots` in 1e-8 units, `min_notionals` in micros."""

    TAG: ClassVar[int] = 10
    numbers: Ascending
    symbols: Texts
    lots: Column
    min_notionals: Column


class CreatorsOpened(Section, frozen=True):
    """Creators began, each with cash; `commands` are 64-bit hashes of the command ids."""

    TAG: ClassVar[int] = 11
    numbers: Ascending
    ids: Texts
    brokers: Texts
    cash: Column
    commands: Column


class MarksUpdated(Section, frozen=True):
    """Instruments got new marks; within one section a later price of an instrument replaces an earlier
    one.
    """

    TAG: ClassVar[int] = 12
    instruments: Column
    prices: Column
    times: Column


class FillApplied(Section, frozen=True):
    """A creator's fill changed its portfolio; followers read their signals, one a leg, from this
    (`engine.legs`).

    `signal` numbers the fill in its creator shard. `equity` is the creator's just before the fill, at
    `mark_prices`, which hold every instrument the creator has traded with the fill's own price as its
    instrument's mark. Positions are signed. `order_quantity` is 0 when the fill names no order. `sequence`
    is the ingress message's.
    """

    TAG: ClassVar[int] = 13
    signal: int
    creator: int
    instrument: int
    side: int
    quantity: int
    price: int
    transact_time: int
    order_quantity: int
    equity: int
    position_before: int
    position_after: int
    sequence: int
    broker: str
    exec_id: str
    order_id: str
    mark_instruments: Ascending
    mark_prices: Column


class FillCorrected(FillApplied, frozen=True):
    """A creator's earlier fill was cancelled or corrected; followers read the signals of the difference from this.

    As a fill it is the compensation: `side` and `quantity` are what the correction moves (0: nothing, no
    signal), `price` is the instrument's current mark. `exec_type` is TRADE_CANCEL or TRADE_CORRECT,
    `reference` the execution meant, which moved `old_quantity` at `old_price` on `old_side`; `new_quantity`
    and `new_price` are what counts instead (0 for a cancel). `cash_change` is the creator's.
    """

    TAG: ClassVar[int] = 16
    exec_type: int
    reference: str
    old_side: int
    old_quantity: int
    old_price: int
    new_quantity: int
    new_price: int
    cash_change: int


class InputsRefused(Section, frozen=True):
    """Inputs were not applied: each goes to the dead-letter stream with its reason."""

    TAG: ClassVar[int] = 15
    sequences: Column
    subjects: Texts
    reasons: Texts
    excerpts: Texts


class CreatorSuspended(Section, frozen=True):
    """A creator's fill was parked: until the creator is resumed its followers copy no entries.

    `sequence` is the parked message's in the ingress stream, `position` the fill in it, -1 for all of it.
    """

    TAG: ClassVar[int] = 18
    creator: int
    sequence: int
    position: int


class CreatorResumed(Section, frozen=True):
    """An operator settled a creator's parked fills: `is_replay` says whether they are decided now, in this
    frame, or void. Entries are copied again from `signal` on; `command` is the hash of the command's id.
    """

    TAG: ClassVar[int] = 19
    creator: int
    signal: int
    is_replay: int
    command: int
    sequences: Column
    positions: Column


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
    """Accounts began with numbers from `first`; `broker_of` indexes `brokers`; `dedicated` is the shard
    given away to, or -1.
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

    `modes` are `engine.book.Mode`, `ratios` micros, `amounts`, `max_order_notionals` and `cash` micros (0 =
    no limit), `max_weights` micros (0 = no limit), `allow_short` 0 or 1.
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
    """Unfollowed: from creator-shard frame `until_frames` on no signal counts; every position is being
    closed.

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


class SignalDecided(Section, frozen=True):
    """One part of a shard's subscriptions answered one signal: its dispositions and its orders.

    Shapes: one row a subscription of the creator's book, `first_row` on, in order of creation;
    `dispositions` are `engine.disposition.Disposition` (0: not active, no disposition). An order's quantity
    is `units * unit`; 0 is no order. `residuals` are what the target keeps beyond position, open orders and
    this order, so target = position + open + order + residual. `side` is the orders' side, `price` the
    signal's, `limit_price` 0 for a market order, `expire_time` 0 for never, `is_exit` 0 or 1. Marks are the
    signal's. `fee_rate` (micros of notional) is what an entry reserves above its limit; `transact_time` is
    the creator's fill's.
    """

    TAG: ClassVar[int] = 26
    creator_shard: int
    signal: int
    leg: int
    creator: int
    instrument: int
    side: int
    price: int
    limit_price: int
    expire_time: int
    is_exit: int
    fee_rate: int
    transact_time: int
    first_row: int
    is_last_part: int
    unit: int
    mark_instruments: Ascending
    mark_prices: Column
    subscriptions: Ascending
    dispositions: Column
    units: Column
    residuals: Column


class OrdersPlaced(Section, frozen=True):
    """Orders whose cause was decided before or is no signal: closings, follow-ups after a cancel, further
    attempts of an exit.

    Scalars as in `SignalDecided`. Shapes: one row a subscription; a quantity of 0 places nothing and only
    ends the row's follow-up. `targets` are the rows' targets after it.
    """

    TAG: ClassVar[int] = 27
    creator_shard: int
    creator: int
    instrument: int
    cause_kind: int
    cause_creator_shard: int
    cause_number: int
    leg: int
    attempt: int
    side: int
    price: int
    limit_price: int
    expire_time: int
    is_exit: int
    fee_rate: int
    transact_time: int
    subscriptions: Ascending
    quantities: Column
    targets: Column


class CancelsRequested(Section, frozen=True):
    """Open orders are to be cancelled: their coordinates."""

    TAG: ClassVar[int] = 28
    cause_kinds: Column
    creator_shards: Column
    cause_numbers: Column
    subscriptions: Column
    legs: Column
    attempts: Column


class FollowUpsQueued(Section, frozen=True):
    """A cause is not done for some subscriptions: it waits for cancels to be answered (`due` 0), or for an
    exit's next attempt at `due`.

    `attempt` is the one that the order will have. It replaces what was queued for the same subscriptions
    and instrument.
    """

    TAG: ClassVar[int] = 29
    creator_shard: int
    creator: int
    instrument: int
    cause_kind: int
    cause_creator_shard: int
    cause_number: int
    leg: int
    attempt: int
    price: int
    transact_time: int
    due: int
    subscriptions: Ascending


class ExecutionsApplied(Section, frozen=True):
    """A broker's reports on orders of one cause, leg and attempt, each counted once (P8).

    An execution id is `prefix` and the decimal `numbers`, or `prefix` alone where the number is -1.
    `exec_types` are `engine.order_state.ExecType`; `quantities`, `prices` and `fees` are of this execution.
    """

    TAG: ClassVar[int] = 30
    sequence: int
    broker: str
    prefix: str
    cause_kind: int
    creator_shard: int
    cause_number: int
    leg: int
    attempt: int
    transact_time: int
    numbers: Column
    subscriptions: Ascending
    exec_types: Column
    quantities: Column
    prices: Column
    fees: Column


class SubscriptionsPaused(Section, frozen=True):
    """Subscriptions take no increases from here on; exits go on. `commands` are 64-bit hashes of the command ids."""

    TAG: ClassVar[int] = 35
    subscriptions: Column
    commands: Column


class SubscriptionsResumed(Section, frozen=True):
    """Paused subscriptions take increases again."""

    TAG: ClassVar[int] = 36
    subscriptions: Column
    commands: Column


class EntriesSuspended(Section, frozen=True):
    """A follower shard copies no entries of a creator any more. `signal` is the parked one, which moves
    nothing in this shard; 0 when it was the creator's shard that suspended.
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


class TradesCorrected(Section, frozen=True):
    """A broker cancelled or corrected trades on orders of one cause, leg and attempt, each counted once (P8).

    An order's terms are as they were placed, for one that is worked again. Shapes: one row a correction,
    each of another subscription. `old_*` is what the reference had moved and is reversed, `quantities`,
    `prices` and `fees` what counts instead (0 for a cancel); `order_quantities` are the whole orders'.
    After it: `filled` and `leaves` of the order (0: not working), `targets` and `costs` of the position.
    `known` are the ids of executions without a number that reopened orders have had, by `known_rows`.
    """

    TAG: ClassVar[int] = 31
    cause_kind: int
    cause_creator_shard: int
    cause_number: int
    leg: int
    attempt: int
    creator_shard: int
    creator: int
    instrument: int
    side: int
    is_exit: int
    price: int
    limit_price: int
    expire_time: int
    fee_rate: int
    order_time: int
    transact_time: int
    sequence: int
    broker: str
    prefix: str
    reference_prefix: str
    numbers: Column
    reference_numbers: Column
    subscriptions: Column
    exec_types: Column
    order_quantities: Column
    old_quantities: Column
    old_prices: Column
    old_fees: Column
    quantities: Column
    prices: Column
    fees: Column
    filled: Column
    leaves: Column
    targets: Column
    costs: Column
    known_rows: Column
    known: Texts


class BlocksAnswered(Section, frozen=True):
    """A broker took orders: every follower frame up to the head's ORDERS cursor is out of the gateway's
    hands.
    """

    TAG: ClassVar[int] = 40
    orders: int


class OrdersWithdrawn(Section, frozen=True):
    """Orders of one cause that never left for the broker: expired unsent, or cancelled while queued
    (`exec_type` says which).

    The gateway reports them as executions numbered from `first_number`. `sequence` is their frame's in the
    follower journals' stream.
    """

    TAG: ClassVar[int] = 41
    follower_shard: int
    cause_kind: int
    creator_shard: int
    cause_number: int
    leg: int
    attempt: int
    exec_type: int
    first_number: int
    transact_time: int
    sequence: int
    subscriptions: Ascending


class SendingBegan(Section, frozen=True):
    """Orders are about to leave for a broker that takes an order id again: numbered from `first_number`, one row a block.

    A row means the orders of a decision in a frame (`sequences`, of the follower journals' stream) with subscriptions from `firsts` to
    `lasts`, without those withdrawn before.
    """

    TAG: ClassVar[int] = 42
    first_number: int
    sequences: Column
    follower_shards: Column
    cause_kinds: Column
    creator_shards: Column
    cause_numbers: Column
    legs: Column
    attempts: Column
    firsts: Column
    lasts: Column


class SendingEnded(Section, frozen=True):
    """It is known, or known never to be known, what became of what left: taken, refused, withdrawn or parked."""

    TAG: ClassVar[int] = 43
    numbers: Ascending


class OrdersParked(Section, frozen=True):
    """Orders of one cause left for a broker that cannot be asked, and no answer came: they are at the broker or nowhere, and are never sent
    again (P9).

    They stay open until executions or an operator's report end them. `sequence` is as in `OrdersWithdrawn`.
    """

    TAG: ClassVar[int] = 44
    follower_shard: int
    cause_kind: int
    creator_shard: int
    cause_number: int
    leg: int
    attempt: int
    sequence: int
    subscriptions: Ascending


EVENT_TYPES = tags(
    OwnerFenced,
    InputAttempted,
    InputParked,
    InstrumentsListed,
    CreatorsOpened,
    MarksUpdated,
    FillApplied,
    FillCorrected,
    InputsRefused,
    CreatorSuspended,
    CreatorResumed,
    CreatorsLearned,
    InstrumentsLearned,
    AccountsOpened,
    SubscriptionsOpened,
    SubscriptionsEnding,
    SubscriptionsEnded,
    SignalDecided,
    OrdersPlaced,
    CancelsRequested,
    FollowUpsQueued,
    ExecutionsApplied,
    SubscriptionsPaused,
    SubscriptionsResumed,
    EntriesSuspended,
    EntriesResumed,
    TradesCorrected,
    BlocksAnswered,
    OrdersWithdrawn,
    SendingBegan,
    SendingEnded,
    OrdersParked,
)
