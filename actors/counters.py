"""The counters of a shard: numbers that an operator may want to know.

Each has one line of documentation and a unit. A shard publishes them with its progress while it is
live; `lockstep status --json`, benchmarks and replays read them from there. They are no part of the
state: an owner begins at zero.

A counter that is zero is left out. A number that is set when progress is published (`_told`) is
there whenever its kind of shard has it, zero included, and None elsewhere.
"""

from typing import Annotated, Any, NamedTuple, get_type_hints

import msgspec
from msgspec import Meta


def _counted(unit: str, description: str) -> Meta:
    """Describe what is counted where it happens."""
    return Meta(description=description, extra={"unit": unit, "only_grows": True})


def _told(unit: str, description: str, *, only_grows: bool = False) -> Meta:
    """Describe what is read from the state when progress is published."""
    return Meta(description=description, extra={"unit": unit, "only_grows": only_grows})


class Counters(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The counters of one owner of a shard, of whatever kind."""

    # Every kind of shard.

    answers_dropped: Annotated[
        int, _counted("answers", "Answers given up because too many waited for a turn.")
    ] = 0
    append_us: Annotated[
        int | None,
        _told("us", "Time from sending a frame until it was durable, all frames.", only_grows=True),
    ] = None
    append_wait_us: Annotated[
        int | None,
        _told("us", "Time that finished frames waited for the frame before.", only_grows=True),
    ] = None
    messages_foreign: Annotated[
        int, _counted("messages", "Messages in journals that no owner wrote, stepped over.")
    ] = 0
    snapshots_failing: Annotated[
        int | None, _told("snapshots", "Snapshots that failed since the last was saved.")
    ] = None
    suspended_creators: Annotated[
        int | None, _told("creators", "Creators whose entries are not copied now.")
    ] = None
    inputs_quarantined: Annotated[
        int | None, _told("inputs", "Inputs set aside because they ended their owners twice.")
    ] = None

    # Creator shards.

    creators: Annotated[int | None, _told("creators", "Creators opened.")] = None
    signals: Annotated[int | None, _told("signals", "Signals made.", only_grows=True)] = None
    fills_repeated: Annotated[int, _counted("fills", "Fills that were known already.")] = 0
    inputs_refused: Annotated[int, _counted("inputs", "Fills and marks that were refused.")] = 0

    # Follower shards.

    accounts: Annotated[int | None, _told("accounts", "Accounts opened.")] = None
    subscriptions: Annotated[
        int | None, _told("subscriptions", "Subscriptions made, ended ones included.")
    ] = None
    open_orders: Annotated[int | None, _told("orders", "Orders that are not over.")] = None
    unanswered_orders: Annotated[
        int | None, _told("orders", "Open orders that the broker has not reported on in time.")
    ] = None
    follow_ups: Annotated[
        int | None, _told("orders", "Orders to be placed later: after a cancel, or a pause.")
    ] = None
    commands_waiting: Annotated[int | None, _told("commands", "Commands not decided yet.")] = None
    signal_passes: Annotated[
        int, _counted("passes", "Passes over the books, each for all signals that waited.")
    ] = 0
    executions_repeated: Annotated[
        int, _counted("executions", "Executions that were applied already.")
    ] = 0
    executions_refused: Annotated[
        int, _counted("executions", "Executions that fit no order, left as dead letters.")
    ] = 0
    executions_implausible: Annotated[
        int, _counted("executions", "Executions that count, but can hardly be right.")
    ] = 0
    orders_looked_up: Annotated[
        int, _counted("orders", "Orders read back from the journal for late executions.")
    ] = 0

    # Broker gateway shards.

    queued_orders: Annotated[int | None, _told("orders", "Orders not sent yet.")] = None
    queued_exits: Annotated[int | None, _told("orders", "Exits among the queued orders.")] = None
    outstanding_messages: Annotated[
        int | None, _told("messages", "Messages and blocks that the broker has not answered.")
    ] = None
    unresolved_orders: Annotated[
        int | None,
        _told("orders", "Orders of which nobody can say whether the broker has them."),
    ] = None
    broker_silent_us: Annotated[
        int | None, _told("us", "Time for which the broker has owed an answer and sent none.")
    ] = None
    answered_orders: Annotated[
        int | None, _told("orders", "Orders out of this owner's hands.", only_grows=True)
    ] = None
    frames_dropped: Annotated[
        int, _counted("frames", "Frames of superseded follower shard owners, skipped.")
    ] = 0
    entries_over_queue: Annotated[
        int, _counted("orders", "Entries rejected unsent because the queue was full.")
    ] = 0
    messages_sent_again: Annotated[int, _counted("messages", "Messages sent once more.")] = 0
    blocks_refused: Annotated[int, _counted("blocks", "Blocks that the broker refused.")] = 0
    answers_mismatched: Annotated[
        int, _counted("answers", "Answers that did not count the orders of their blocks.")
    ] = 0
    orders_revoked: Annotated[int, _counted("orders", "Orders reported as over, unsent.")] = 0
    orders_unanswered: Annotated[
        int, _counted("orders", "Orders sent and not answered, looked up or unresolved.")
    ] = 0


class Definition(NamedTuple):
    """One counter as programs list it. What does not only grow is a gauge."""

    name: str
    unit: str
    description: str
    only_grows: bool


def definitions() -> list[Definition]:
    """List every counter, in the order in which they are published."""
    hints = get_type_hints(Counters, include_extras=True)
    return [_definition(name, hints[name]) for name in Counters.__struct_fields__]


def _definition(name: str, hint: Any) -> Definition:
    meta: Meta = hint.__metadata__[0]
    assert meta.description is not None and meta.extra is not None
    return Definition(name, meta.extra["unit"], meta.description, meta.extra["only_grows"])
