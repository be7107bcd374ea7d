"""A broker says nothing of an order, and everything behind the order waits: it is asked about, and
an operator ends it. The shard may die between any two steps (P6, P7, P8, P10).
"""

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from actors.creator.actor import CreatorShardActor
from actors.follower.actor import FollowerShardActor
from engine.journal.events.orders import OrderResolved, OrdersPlaced, OrdersUnanswered
from engine.journal.frame import ShardKey, ShardKind
from engine.messages.answers import Resolved
from engine.messages.commands import Follow, OpenAccount, ResolveOrder
from engine.values.copy_mode import Mode
from engine.values.order_ids import CauseKind, OrderId
from engine.values.order_status import ExecType
from engine.values.units import NS_PER_S, format_time
from tests.actors.counting import counted
from tests.actors.memory_shards import MemoryShards, command, hash_of, turns

FOLLOWER = ShardKey(ShardKind.FOLLOWER, 0)
CASH = 10_000 * 10**6
ONE = 10**8
BOUGHT, SILENT = (OrderId(0, CauseKind.SIGNAL, 0, signal, 0, 0, 0) for signal in (1, 2))
EXIT = OrderId(0, CauseKind.SIGNAL, 0, 3, 0, 0, 1)


class SilentBroker:
    """A follower who holds 5, whose broker says nothing of an entry of 2, and who must sell."""

    def __init__(self) -> None:
        self.shards = MemoryShards()
        self._ids = itertools.count(1)
        self.creator: CreatorShardActor
        self.follower: FollowerShardActor
        self.steps: list[Callable[[], Awaitable[None]]] = [
            self.buy_more,
            self.sell_everything,
            self.wait,
            self.fill_a_part,
            self.cancel_the_rest,
            self.cancel_it_again,
            self.report_late,
            self.fill_the_exit,
        ]

    async def begin(self) -> None:
        self.creator, self.follower = await self.shards.creator(), await self.shards.follower()
        await self.shards.open_creator(self.creator, "anna")
        await turns(self.follower)
        follow = Follow("follow", "bob", "anna", CASH, mode=Mode.MULTIPLIER, ratio=10**5)
        await command(self.follower, OpenAccount("open", "bob"), follow)
        await self._fill("buy", "50")
        await self.report(BOUGHT, "trade", "5")

    async def restart(self) -> None:
        """Let the follower shard die and recover."""
        await self.follower.core.committer.close()
        await self.follower.close()
        self.follower = await self.shards.follower()
        await turns(self.follower)

    async def _fill(self, side: str, quantity: str) -> None:
        await self._publish("fills.paper.anna", [self.shards.fill("AAA", side, quantity)])

    async def _publish(self, subject: str, body: list[dict[str, str]]) -> None:
        time = format_time(self.shards.clock.time_ns)
        await self.shards.publish(subject, [{**each, "transact_time": time} for each in body])
        await turns(self.creator, self.follower)

    async def report(self, order: OrderId, exec_type: str, quantity: str = "0") -> None:
        moved = {"last_qty": quantity, "last_px": "100"} if exec_type == "trade" else {}
        report = {"exec_id": f"x-{next(self._ids)}", "order_id": str(order), **moved}
        await self._publish("executions.paper.0", [{**report, "exec_type": exec_type}])

    async def resolve(self, name: str, quantity: int = 0, price: int = 0, fee: int = 0) -> None:
        exec_type = ExecType.TRADE if quantity else ExecType.CANCELED
        asked = ResolveOrder(name, "bob", SILENT, exec_type, quantity, price, fee)
        assert await command(self.follower, asked) == [Resolved(str(SILENT))]

    # The steps.

    async def buy_more(self) -> None:
        await self._fill("buy", "20")

    async def sell_everything(self) -> None:
        await self._fill("sell", "70")
        assert self.placed() == []

    async def wait(self) -> None:
        for _ in range(8):
            self.shards.clock.time_ns += 10 * NS_PER_S
            await turns(self.follower)
        assert self.placed() == [], "the exit waits"

    async def fill_a_part(self) -> None:
        await self.resolve("c-1", ONE, 100 * 10**6, 5)

    async def cancel_the_rest(self) -> None:
        await self.resolve("c-2")
        (placed,) = self.placed()
        assert placed.key.order_id(0, 0) == EXIT
        assert placed.quantities.tolist() == [6 * ONE]

    async def cancel_it_again(self) -> None:
        await self.resolve("c-2")
        await self.resolve("c-1", ONE, 100 * 10**6, 5)

    async def report_late(self) -> None:
        await self.report(SILENT, "trade", "2")
        assert self.reasons() == ["unmatched_execution"]

    async def fill_the_exit(self) -> None:
        await self.report(EXIT, "trade", "6")

    # What is seen.

    def placed(self) -> list[OrdersPlaced]:
        return self.shards.events(FOLLOWER, OrdersPlaced)

    def reasons(self) -> list[str]:
        messages = self.shards.server.stream("DEADLETTER").messages
        return [msgspec.json.decode(message.data)["reason"] for message in messages]

    def expect_the_end(self) -> None:
        """Check position and cash to the last unit: 5 and 1 bought, 6 sold, all at 100."""
        (book,) = self.follower.state.books
        assert book.slots[0].position[:1].tolist() == [0]
        assert book.slots[0].open[:1].tolist() == book.slots[0].target[:1].tolist() == [0]
        assert book.subscriptions["cash"].tolist() == [CASH - 5]
        assert book.subscriptions["reserved"].tolist() == [0]
        assert self.follower.state.orders.count == 0
        assert len(self.shards.events(FOLLOWER, OrderResolved)) == 2


@pytest.mark.parametrize("killed_after", range(8))
async def test_p6_an_operators_word_survives_a_death_between_any_two_steps(
    killed_after: int,
) -> None:
    story = SilentBroker()
    await story.begin()
    assert len(story.steps) == 8
    for number, step in enumerate(story.steps):
        await step()
        if number == killed_after:
            before = hash_of(story.follower)
            await story.restart()
            assert hash_of(story.follower) == before
    story.expect_the_end()


async def test_an_order_whose_cancel_is_not_answered_is_asked_about_and_counted() -> None:
    story = SilentBroker()
    await story.begin()
    await story.buy_more()
    await story.sell_everything()
    assert counted(story.follower).unanswered_orders == 0
    await story.wait()
    first, *later = story.shards.events(FOLLOWER, OrdersUnanswered)
    assert first.key.order_id(0, int(first.subscriptions[0])) == SILENT
    assert (first.is_first, first.cancels.tolist()) == (1, [1])
    assert not any(event.is_first for event in later)
    assert counted(story.follower).unanswered_orders == 1
    await story.fill_a_part()
    await story.cancel_the_rest()
    story.shards.clock.time_ns += 10 * NS_PER_S
    await turns(story.follower)
    assert counted(story.follower).unanswered_orders == 0


async def test_a_refused_word_says_why_and_answers_at_once() -> None:
    story = SilentBroker()
    await story.begin()
    asked: Any = ResolveOrder("c-1", "bob", BOUGHT, ExecType.CANCELED)
    (answer,) = await command(story.follower, asked)
    assert getattr(answer, "reason", "") == "unknown_order"


async def test_p8_a_look_up_under_way_is_told_what_an_operator_says_of_the_order() -> None:
    story = SilentBroker()
    await story.begin()
    await story.buy_more()
    await story.report(SILENT, "trade", "1")
    bust = {"exec_id": "bust", "exec_ref_id": "x-2", "order_id": str(SILENT), "leaves_qty": "1.5"}
    time = format_time(story.shards.clock.time_ns)
    await story.shards.publish(
        "executions.paper.0", [{**bust, "exec_type": "trade_cancel", "transact_time": time}]
    )
    await story.follower.turn()
    assert story.follower.lookup.is_reading
    await story.resolve("c-1", ONE // 2, 100 * 10**6, 0)
    await turns(story.creator, story.follower)
    # 2 ordered: the broker's 1 is taken back, the operator's 0.5 counts, and 1.5 is worked.
    (group,) = story.follower.state.orders.groups()
    assert (group.quantity.tolist(), group.filled.tolist()) == ([2 * ONE], [ONE // 2])
    (book,) = story.follower.state.books
    assert book.slots[0].position[:1].tolist() == [5 * ONE + ONE // 2]
    assert book.slots[0].open[:1].tolist() == [ONE + ONE // 2]
    assert book.subscriptions["cash"].tolist() == [CASH - 550 * 10**6]
    before = hash_of(story.follower)
    await story.restart()
    assert hash_of(story.follower) == before
