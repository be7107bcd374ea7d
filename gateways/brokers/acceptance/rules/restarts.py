"""Rules about the program's end at any moment: nothing answered is lost, nothing is done twice."""

import asyncio
import random

from engine.messages.blocks import OrdersSubmitted
from gateways.brokers.acceptance.bench import Bench, expect_accepted
from gateways.brokers.acceptance.broken import expect
from gateways.brokers.acceptance.program import Sent
from gateways.brokers.acceptance.rules.look_ups import look_up
from gateways.brokers.acceptance.rules.rule import Rule

_KILL_WITHIN_S = 0.05
_HELD_S = 0.3


async def _answered_is_kept(bench: Bench) -> None:
    for count in range(1, bench.options.kills + 1):
        orders = bench.orders(range(count))
        await bench.place(orders)
        # The answer is there: whatever the program has not written yet is lost now.
        await bench.kill_and_restart()
        await _expect_kept(bench, orders)
        await bench.wait_ended(orders)


async def _expect_kept(bench: Bench, orders: OrdersSubmitted) -> None:
    count = len(orders.subscriptions)
    if bench.options.order_ids == "refused":
        expect_accepted(await bench.ask(orders), 0, count)
    elif bench.options.order_ids == "looked_up":
        (known,) = await look_up(bench, orders)
        expect(len(known) == count, f"{count} orders known that were accepted", len(known))


async def _any_moment(bench: Bench) -> None:
    chance = random.Random(bench.options.seed)
    done: list[OrdersSubmitted] = []
    for _ in range(bench.options.kills):
        blocks = [
            [bench.orders(range(chance.randint(1, 30)), follower_shard=shard) for shard in (0, 1)]
            for _ in range(chance.randint(1, 8))
        ]
        sent = [await bench.hand_over(bench.block(*each), each) for each in blocks]
        await asyncio.sleep(chance.random() * _KILL_WITHIN_S)
        await bench.program.kill()
        await bench.restart()
        for each, waiting in zip(blocks, sent, strict=True):
            done += await _settled(bench, each, waiting)
    await bench.wait_ended(*done)


async def _settled(bench: Bench, block: list[OrdersSubmitted], sent: Sent) -> list[OrdersSubmitted]:
    """Find out what became of a block as a gateway would. Returns: its orders that were taken."""
    count = sum(len(each.subscriptions) for each in block)
    answer = await bench.answer_to(sent, block, within_s=0)
    if answer is not None:
        expect_accepted(answer, count)
        return block
    if bench.options.order_ids == "refused":
        again = await bench.ask(*block)
        expect(
            again.refusal == "" and (again.accepted, again.repeated) in ((count, 0), (0, count)),
            f"a block without an answer that was taken whole or not at all, of {count} orders",
            f"{again.accepted} accepted, {again.repeated} repeated, refusal {again.refusal!r}",
        )
        return block
    if bench.options.order_ids == "looked_up":
        known = sum(map(len, await look_up(bench, *block)))
        expect(
            known in (0, count),
            f"a block without an answer that was taken whole or not at all, of {count} orders",
            f"{known} known",
        )
        return block if known else []
    return []


async def _published_again(bench: Bench) -> None:
    orders = [bench.orders(range(5), follower_shard=shard) for shard in (0, 1)]
    await bench.program.hold()
    try:
        sent = await bench.hand_over(bench.block(*orders), orders)
        # Time enough to execute them. Nothing that leaves meanwhile is stored.
        await asyncio.sleep(_HELD_S)
        await bench.program.kill()
    finally:
        await bench.program.release()
    await bench.restart()
    await _wait_settled(bench, orders, sent)


async def _wait_settled(bench: Bench, block: list[OrdersSubmitted], sent: Sent) -> None:
    """Wait for the end of a block's orders. A program may answer only once it has published, so the
    block may be without an answer.
    """
    await bench.answer_to(sent, block)
    await bench.wait_ended(*await _settled(bench, block, sent))


async def _held_back(bench: Bench) -> None:
    orders = bench.orders(range(5))
    await bench.program.hold()
    try:
        sent = await bench.hand_over(bench.block(orders), [orders])
        await asyncio.sleep(_HELD_S)
    finally:
        await bench.program.release()
    await _wait_settled(bench, [orders], sent)


RULES = (
    Rule("restarts", "executions that could not be stored are published again", _held_back),
    Rule(
        "restarts",
        "a program killed right after an answer has kept every order of it",
        _answered_is_kept,
        needs_restart=True,
    ),
    Rule(
        "restarts",
        "a program killed at any moment has each block whole or not at all, and ends every order",
        _any_moment,
        needs_restart=True,
    ),
    Rule(
        "restarts",
        "executions that were not confirmed are published after the program was killed",
        _published_again,
        needs_restart=True,
    ),
)
