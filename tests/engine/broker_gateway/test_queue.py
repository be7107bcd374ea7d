"""The gateway's queue against a slow model of the rules: order per account and instrument, exits
first, creators in turn.
"""

import random
from collections import Counter

import numpy as np
import pytest

from engine.broker_gateway.outbound import OutboundSection, orders_count
from engine.broker_gateway.queue import MESSAGE_ORDERS_MAX, TURN_ORDERS, DispatchQueue
from engine.messages.blocks import AccountsRegistered, CancelsSubmitted, OrdersSubmitted
from engine.values.order_ids import CauseKind, OrderKey

Row = tuple[int, OrderKey, int]
"""Shard, decision and subscription of one order."""


def orders(
    cause: int,
    accounts: list[int] | range,
    *,
    symbol: str = "AAA",
    creator: int = 0,
    is_exit: bool = False,
    shard: int = 0,
    expire_time: int = 0,
    kind: CauseKind = CauseKind.SIGNAL,
    sequence: int | None = None,
) -> OutboundSection:
    """Make a section of orders; subscription 10 n + creator is account n's."""
    numbers = np.array(accounts, np.int64)
    key = OrderKey(kind, 0, cause, 0, 0)
    section = OrdersSubmitted(
        shard,
        cause,
        key,
        symbol,
        -1 if is_exit else 1,
        100,
        0,
        expire_time,
        numbers * 10 + creator,
        numbers,
        np.ones(len(numbers), np.int64),
    )
    return OutboundSection(sequence or cause, shard, section, key, (0, creator), is_exit)


def cancels(sequence: int, *sections: OutboundSection) -> OutboundSection:
    """Make a section that cancels every order of some sections."""
    keys = [outbound.key for outbound in sections for _ in range(outbound.count) if outbound.key]
    columns = [np.array(column, np.int64) for column in zip(*keys, strict=True)]
    subscriptions = np.concatenate([outbound.orders.subscriptions for outbound in sections])
    section = CancelsSubmitted(
        0, columns[0], columns[1], columns[2], subscriptions, columns[3], columns[4]
    )
    return OutboundSection(sequence, 0, section)


def causes(message: list[OutboundSection]) -> list[int]:
    return [outbound.orders.key.cause_number for outbound in message]


def test_an_exit_goes_before_ten_thousand_entries_that_came_before_it() -> None:
    queue = DispatchQueue()
    for cause in range(1, 10_001):
        queue.enqueue(orders(cause, [cause], creator=cause % 7))
    queue.enqueue(orders(10_001, [20_000], is_exit=True))
    assert causes(queue.next_to_send(1)) == [10_001]


def test_an_exit_waits_only_for_an_earlier_entry_of_its_account_and_instrument() -> None:
    queue = DispatchQueue()
    first = orders(1, [1, 2])
    queue.enqueue(first)
    assert queue.next_to_send() == [first]
    queue.enqueue(orders(2, [2], creator=1, is_exit=True))
    queue.enqueue(orders(3, [2], symbol="BBB", creator=1, is_exit=True))
    queue.enqueue(orders(4, [3], creator=1, is_exit=True))
    assert causes(queue.next_to_send()) == [3, 4]
    queue.let_go(first)
    assert causes(queue.next_to_send()) == [2]


def test_orders_behind_a_revoked_section_still_wait_for_the_section_before_it() -> None:
    queue = DispatchQueue()
    sent = orders(1, [1])
    queue.enqueue(sent)
    queue.next_to_send()
    queue.enqueue(orders(2, [1], expire_time=5))
    queue.enqueue(orders(3, [1], is_exit=True))
    assert causes(queue.take_expired(6, unsent_after=0)) == [2]
    assert not queue.next_to_send()
    assert queue.first_sequence() == 1
    queue.let_go(sent)
    assert causes(queue.next_to_send()) == [3]
    assert queue.first_sequence() == 3


def test_parts_of_a_signal_go_together_and_the_next_signal_waits_for_its_accounts() -> None:
    queue = DispatchQueue()
    parts = [orders(1, range(start, start + 10)) for start in (0, 10, 20)]
    for part in parts:
        queue.enqueue(part)
    assert queue.next_to_send() == parts
    queue.enqueue(orders(2, range(10)))
    queue.enqueue(orders(2, range(20, 30)))
    queue.let_go(parts[0])
    assert [int(outbound.orders.accounts[0]) for outbound in queue.next_to_send()] == [0]


def test_later_orders_wait_for_both_parts_of_a_split_section() -> None:
    queue = DispatchQueue()
    queue.enqueue(orders(1, range(10)))
    [part] = queue.next_to_send(4)
    queue.enqueue(orders(2, [0], is_exit=True))
    queue.enqueue(orders(3, [9], is_exit=True))
    [rest] = queue.next_to_send(100)
    assert (part.count, rest.count) == (4, 6)
    queue.let_go(rest)
    assert not queue.next_to_send()
    queue.let_go(part)
    assert causes(queue.next_to_send()) == [2, 3]


def test_sections_sent_by_a_former_owner_are_waited_for_and_not_sent_again() -> None:
    queue = DispatchQueue()
    first, second = orders(1, [1]), orders(2, [1])
    queue.hold(first)
    queue.hold(second)
    queue.enqueue(orders(3, [1], is_exit=True))
    queue.let_go(first)
    assert not queue.next_to_send()
    queue.let_go(second)
    assert causes(queue.next_to_send()) == [3]


def test_all_orders_of_a_shard_wait_for_its_registered_accounts() -> None:
    queue = DispatchQueue()
    introduction = OutboundSection(1, 0, AccountsRegistered(0, 0, ["ann"]))
    queue.enqueue(introduction)
    queue.enqueue(orders(2, [0]))
    queue.enqueue(orders(3, [0], shard=1))
    message = queue.next_to_send()
    assert message[0] is introduction
    assert causes(message[1:]) == [3]
    queue.let_go(introduction)
    assert causes(queue.next_to_send()) == [2]


def test_a_cancel_takes_queued_orders_out_and_waits_for_those_sent() -> None:
    queue = DispatchQueue()
    sent, queued = orders(1, [1]), orders(2, [2, 3])
    queue.enqueue(sent)
    queue.next_to_send()
    queue.enqueue(queued)
    cancel = cancels(3, sent, queued)
    assert isinstance(cancel.body, CancelsSubmitted)
    taken = list(queue.take_cancelled(0, cancel.body, unsent_after=0))
    assert [outbound.orders.subscriptions.tolist() for outbound in taken] == [[20, 30]]
    queue.enqueue(cancel)
    assert not queue.next_to_send()
    queue.let_go(sent)
    assert queue.next_to_send() == [cancel]
    assert queue.orders_count == 0


def test_orders_that_a_former_owner_may_have_sent_are_not_revoked() -> None:
    queue = DispatchQueue()
    queue.enqueue(orders(1, [1], expire_time=5, sequence=10))
    queue.enqueue(orders(2, [2], expire_time=5, sequence=11))
    assert causes(queue.take_expired(6, unsent_after=10)) == [2]
    assert causes(queue.next_to_send()) == [1]


def test_under_a_rate_a_small_creator_does_not_wait_behind_a_large_ones_orders() -> None:
    queue = DispatchQueue()
    queue.enqueue(orders(1, range(100_000), creator=1))
    for cause in range(2, 12):
        queue.enqueue(orders(cause, [cause], symbol="BBB", creator=cause))
    small, sent = 0, 0
    while small < 10:
        message = queue.next_to_send(512)
        sent += orders_count(message)
        small += sum(outbound.creator != (0, 1) for outbound in message)
    assert sent <= 2 * 512
    assert queue.next_to_send(0) == []


def test_without_a_rate_creators_take_turns_and_no_section_is_split() -> None:
    queue = DispatchQueue()
    for cause in range(1, 201):
        queue.enqueue(orders(cause, range(cause * 1000, cause * 1000 + 1000), creator=1))
    queue.enqueue(orders(201, [1], symbol="BBB", creator=2))
    message = queue.next_to_send()
    assert orders_count(message) <= MESSAGE_ORDERS_MAX
    assert {outbound.count for outbound in message} == {1000, 1}
    assert causes(message).index(201) <= -(-TURN_ORDERS // 1000)


def test_a_creator_whose_section_no_longer_fits_is_first_in_the_next_message() -> None:
    queue = DispatchQueue()
    half = range(MESSAGE_ORDERS_MAX // 2)
    for cause in range(1, 10):
        queue.enqueue(orders(cause, half, symbol=str(cause), creator=cause % 3))
    sent = [[outbound.creator[1] for outbound in queue.next_to_send()] for _ in range(4)]
    assert sent == [[1, 2], [0, 1], [2, 0], [1, 2]]


def test_a_spent_rate_leaves_each_creators_turn() -> None:
    queue = DispatchQueue()
    for creator in (1, 2):
        queue.enqueue(orders(creator, range(100), symbol=str(creator), creator=creator))
    sent = []
    for allowed in (10, 0, 10, 0):
        sent += [outbound.creator[1] for outbound in queue.next_to_send(allowed)]
    assert sent == [1, 2]


class Model:
    """Every order in hand, one by one."""

    def __init__(self) -> None:
        self.rows: dict[Row, tuple[int, str, int, int]] = {}
        """Shard, symbol, account and when it came, of each order in hand."""
        self.sent: set[Row] = set()
        self.ended: Counter[Row] = Counter()

    def add(self, outbound: OutboundSection) -> None:
        for account, row in zip(outbound.orders.accounts.tolist(), rows_of(outbound), strict=True):
            self.rows[row] = (
                outbound.follower_shard,
                outbound.orders.symbol,
                account,
                outbound.ordinal,
            )

    def send(self, outbound: OutboundSection) -> None:
        for row in rows_of(outbound):
            place, came = self.rows[row][:3], self.rows[row][3]
            earlier = [
                each for each, found in self.rows.items() if found[:3] == place and found[3] < came
            ]
            assert not [each for each in earlier if each[1] != row[1]], (
                "an earlier order was passed"
            )
            assert row not in self.sent
            self.sent.add(row)

    def end(self, outbound: OutboundSection) -> None:
        for row in rows_of(outbound):
            del self.rows[row]
            self.ended[row] += 1


def rows_of(outbound: OutboundSection) -> list[Row]:
    assert outbound.key is not None
    return [
        (outbound.follower_shard, outbound.key, each)
        for each in outbound.orders.subscriptions.tolist()
    ]


@pytest.mark.parametrize("seed", range(20))
def test_any_story_sends_each_order_once_and_none_before_an_earlier_one(seed: int) -> None:
    """Blocks come, are split, answered in any order, expire and are cancelled (P9's first half)."""
    rng = random.Random(seed)
    queue, model = DispatchQueue(), Model()
    sent: list[OutboundSection] = []
    queued: list[OutboundSection] = []
    everything = 0

    def step_in(cause: int) -> None:
        nonlocal everything
        accounts = sorted(rng.sample(range(30), rng.randint(1, 8)))
        outbound = orders(
            cause,
            accounts,
            symbol=rng.choice("AB"),
            creator=rng.randrange(4),
            is_exit=rng.random() < 0.3,
            shard=rng.randrange(2),
            expire_time=rng.choice((0, cause + rng.randint(1, 60))),
            kind=rng.choice((CauseKind.SIGNAL, CauseKind.COMMAND)),
        )
        everything += outbound.count
        queue.enqueue(outbound)
        model.add(outbound)
        queued.append(outbound)

    def step_out() -> None:
        allowed = rng.choice((None, 0, 3, 10))
        message = queue.next_to_send(allowed)
        assert allowed is None or orders_count(message) <= allowed
        exits = [outbound.is_exit for outbound in message]
        assert exits == sorted(exits, reverse=True)
        for outbound in message:
            model.send(outbound)
        sent.extend(message)

    def step_answer() -> None:
        rng.shuffle(sent)
        for _ in range(rng.randint(0, len(sent))):
            outbound = sent.pop()
            queue.let_go(outbound)
            model.end(outbound)

    for cause in range(1, 120):
        for _ in range(rng.randint(0, 3)):
            step_in(cause * 10 + _)
        rng.choice((step_out, step_answer))()
        if rng.random() < 0.2:
            for outbound in queue.take_expired(cause * 10, unsent_after=0):
                model.end(outbound)
        chosen = rng.choice(queued) if queued else None
        if (
            chosen is not None
            and chosen.count
            and chosen.follower_shard == 0
            and rng.random() < 0.3
        ):
            section = cancels(cause, chosen).body
            assert isinstance(section, CancelsSubmitted)
            for outbound in queue.take_cancelled(0, section, unsent_after=0):
                model.end(outbound)
        assert queue.orders_count == len(model.rows) - len(model.sent & model.rows.keys())
    while model.rows:
        step_out()
        step_answer()
    assert queue.first_sequence() is None
    assert queue.orders_count == queue.entries_count == 0
    assert (len(model.ended), sum(model.ended.values())) == (everything, everything)
