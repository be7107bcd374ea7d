"""A broker learns of its own accounts only, by the numbers that they have in their shard."""

import numpy as np
import pytest

from engine.broker_gateway.follower_view import RUNS_MAX, FollowerView
from engine.broker_gateway.outbound import OutboundSection
from engine.broker_gateway.queue import MESSAGE_SECTIONS_MAX, DispatchQueue
from engine.journal.events.subscriptions import AccountsOpened
from engine.messages.blocks import AccountsRegistered


def opened(brokers: list[str], owners: list[int], first: int = 0) -> AccountsOpened:
    """Open accounts, each at the broker whose place `owners` gives."""
    zeros = np.zeros(len(owners), np.int64)
    ids = [f"account-{first + row}" for row in range(len(owners))]
    return AccountsOpened(first, ids, brokers, np.array(owners, np.int64), zeros - 1, zeros)


def registered(event: AccountsOpened, broker: str) -> list[OutboundSection]:
    view = FollowerView(3)
    view.learn(event)
    return list(view.sections_for(broker, 9, 4, event))


def numbers(sections: list[OutboundSection]) -> dict[int, str]:
    """The accounts of sections by their numbers."""
    found: dict[int, str] = {}
    for body in (body for section in sections for body in section.bodies):
        assert isinstance(body, AccountsRegistered) and body.follower_shard == 3
        found.update(enumerate(body.ids, body.first))
    return found


@pytest.mark.parametrize(
    "owners", [[0, 0, 1, 1, 0], [0], [1, 1, 1], [1, 0, 1, 0, 1], [2, 2, 0, 1, 2], []]
)
def test_each_broker_is_told_of_its_own_accounts_and_of_no_other(owners: list[int]) -> None:
    brokers = ["one", "two", "three"]
    event = opened(brokers, owners, first=5)
    for place, broker in enumerate([*brokers, "stranger"]):
        expected = {
            5 + row: f"account-{5 + row}" for row, owner in enumerate(owners) if owner == place
        }
        assert numbers(registered(event, broker)) == expected


def test_accounts_in_a_row_are_one_section_and_alternating_ones_share_few() -> None:
    assert len(registered(opened(["one"], [0] * 1000), "one")) == 1
    alternating = registered(opened(["one", "two"], [0, 1] * 1000), "one")
    assert [len(each.bodies) for each in alternating] == [RUNS_MAX] * 3 + [1000 - 3 * RUNS_MAX]
    assert sum(each.count for each in alternating) == 1000


def test_no_block_has_more_sections_than_a_broker_must_take() -> None:
    queue = DispatchQueue()
    for section in registered(opened(["one", "two"], [0, 1] * 1000), "one"):
        queue.enqueue(section)
    sent = 0
    while message := queue.next_to_send():
        assert sum(len(each.bodies) for each in message) <= MESSAGE_SECTIONS_MAX
        for each in message:
            sent += each.count
            queue.let_go(each)
    assert sent == 1000
