"""Rules about look-ups and rounds, for programs that answer them (P9)."""

from engine.messages.blocks import OrdersLookedUp, OrdersSubmitted, RefusalCode
from gateways.brokers.acceptance.bench import Bench, BlockAnswer, expect_accepted, expect_refused
from gateways.brokers.acceptance.broken import expect
from gateways.brokers.acceptance.history import ids_of
from gateways.brokers.acceptance.rules.repeats import some_of
from gateways.brokers.acceptance.rules.rule import Rule

_CLASSES = ("looked_up",)


async def look_up(bench: Bench, *sections: OrdersSubmitted) -> list[list[int]]:
    """Look orders up in a new round. Returns: the subscriptions known, by section. Raises: Broken
    when the answer is not that of these sections.
    """
    bench.round += 1
    asked = [bench.look_up(each) for each in sections]
    answer = await bench.ask(*asked)
    expect_accepted(answer, 0)
    known = known_of(answer, asked)
    for section, subscriptions in zip(sections, known, strict=True):
        for order in ids_of(section):
            bench.history.note_looked_up(order, is_known=order.subscription in subscriptions)
    return known


def known_of(answer: BlockAnswer, asked: list[OrdersLookedUp]) -> list[list[int]]:
    """Return the subscriptions that an answer names. Raises: Broken unless it names each section
    asked after, in order.
    """
    expect(
        len(answer.known) == len(asked),
        f"{len(asked)} OrdersKnown, one for each OrdersLookedUp",
        len(answer.known),
    )
    for wanted, known in zip(asked, answer.known, strict=True):
        found = known.follower_shard, known.key
        expected = wanted.follower_shard, wanted.key
        expect(found == expected, f"OrdersKnown of {expected}", found)
        strangers = set(known.subscriptions.tolist()) - set(wanted.subscriptions.tolist())
        expect(not strangers, "no subscription that was not asked after", sorted(strangers))
    return [known.subscriptions.tolist() for known in answer.known]


async def _named(bench: Bench) -> None:
    orders, other = bench.orders([1, 4, 9]), bench.orders([2], follower_shard=1)
    await bench.place(orders, other)
    await bench.wait_ended(orders, other)
    asked = [some_of(orders, [0, 1, 4, 5, 9]), other, bench.orders([3]), bench.orders([])]
    found = await look_up(bench, *asked)
    expect(found == [[1, 4, 9], [2], [], []], "[[1, 4, 9], [2], [], []]", found)


async def _final(bench: Bench) -> None:
    late = bench.orders(range(3))
    found = await look_up(bench, late)
    expect(found == [[]], "no order known that never came", found)
    expect_refused(await bench.ask(late, round=bench.round - 1), RefusalCode.ROUND)
    found = await look_up(bench, late)
    expect(found == [[]], "no order known whose block was refused for its round", found)


async def _same_round(bench: Bench) -> None:
    await look_up(bench, bench.orders([1]))
    orders = bench.orders(range(3))
    await bench.place(orders)
    await bench.wait_ended(orders)


async def _new_epoch(bench: Bench) -> None:
    await look_up(bench, bench.orders([1]))
    bench.epoch, bench.round = bench.epoch + 1, 0
    orders = bench.orders(range(3))
    await bench.place(orders)
    await bench.wait_ended(orders)


async def _after_kill(bench: Bench) -> None:
    orders, late = bench.orders(range(0, 30, 2)), bench.orders(range(3))
    await bench.place(orders)
    found = await look_up(bench, some_of(orders, list(range(30))), late)
    expect(found == [list(range(0, 30, 2)), []], "the 15 orders taken, of 30 asked after", found)
    # Nothing of the current round may come before it, or the program would learn it again.
    block = bench.block(late, round=bench.round - 1)
    expect_refused(await bench.kill_and_restart(block), RefusalCode.ROUND)
    again = await look_up(bench, some_of(orders, list(range(30))), late)
    expect(again == found, "the same orders known as before the kill", again)
    await bench.wait_ended(orders)


RULES = (
    Rule(
        "look-ups",
        "each OrdersLookedUp is answered by one OrdersKnown, in order: the orders ever taken",
        _named,
        _CLASSES,
    ),
    Rule(
        "look-ups",
        "a block of a lower round is refused whole",
        _final,
        _CLASSES,
    ),
    Rule("look-ups", "a block of the round of the last look-up is taken", _same_round, _CLASSES),
    Rule("look-ups", "a new epoch begins with round 0", _new_epoch, _CLASSES),
    Rule(
        "look-ups",
        "rounds and orders are known after the program was killed",
        _after_kill,
        _CLASSES,
        needs_restart=True,
    ),
)
