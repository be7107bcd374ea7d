"""Rules about what a program states of itself: codes, its cluster, its history. A program that was
written before they were asked for states nothing, and these rules are then not run.
"""

from typing import Any

from engine.columns.section_types import column_of
from engine.messages.blocks import (
    ExecutionsStated,
    FramesSent,
    GatewayEpoch,
    HistoryStated,
    OrdersSubmitted,
    RefusalCode,
    encode_block,
)
from gateways.brokers.acceptance.bench import Bench, BlockAnswer, expect_accepted, expect_refused
from gateways.brokers.acceptance.broken import NotStated, expect
from gateways.brokers.acceptance.rules.rule import Rule

_ANOTHER_CLUSTER = "another-cluster"
_SHARD = 1


def _code_of(answer: BlockAnswer) -> int:
    if answer.code == RefusalCode.NOT_STATED:
        raise NotStated("a code")
    return answer.code


async def _codes(bench: Bench) -> None:
    answers = [
        (RefusalCode.NONE, await bench.ask()),
        (RefusalCode.CONTENT, await bench.ask(bench.orders([1], side=0))),
        (RefusalCode.CONTENT, await bench.ask_raw(b"LSB1 junk")),
        (RefusalCode.EPOCH, await bench.ask(epoch=bench.epoch - 1)),
    ]
    if bench.options.order_ids == "looked_up":
        await bench.ask(bench.look_up(bench.orders([1])), round=bench.round + 1)
        answers.append((RefusalCode.ROUND, await bench.ask(round=bench.round)))
        bench.round += 1
    for expected, answer in answers:
        expect(_code_of(answer) == expected, f"code {expected.value}", answer)


async def _other_cluster(bench: Bench) -> None:
    _code_of(await bench.ask())
    orders = bench.orders(range(3))
    expect_refused(await _ask_as_another(bench, orders), RefusalCode.CLUSTER)
    await bench.place(orders)
    await bench.wait_ended(orders)


async def _other_cluster_after_kill(bench: Bench) -> None:
    _code_of(await bench.ask())
    block = encode_block(GatewayEpoch(bench.epoch + 1, 1, _ANOTHER_CLUSTER))
    expect_refused(await bench.kill_and_restart(block), RefusalCode.CLUSTER)
    await bench.place(bench.orders([1]))


async def _ask_as_another(bench: Bench, *sections: Any) -> BlockAnswer:
    header = GatewayEpoch(bench.epoch, 1, _ANOTHER_CLUSTER)
    return await bench.ask_raw(encode_block(header, *sections), sections)


async def _history(bench: Bench) -> None:
    stated, _ = await _stated(bench)
    orders, number = await _place_of_frame(bench, 2)
    lower = bench.orders([7], follower_shard=_SHARD)
    expect_accepted(await bench.ask(lower, _frame(number - 1)), 1)
    again, _ = await _stated(bench)
    expect(again.ledger == stated.ledger, f"the ledger's name {stated.ledger}", again.ledger)
    _expect_frame(again, number)
    await bench.wait_ended(orders, lower)


async def _history_after_kill(bench: Bench) -> None:
    before, _ = await _stated(bench)
    orders, number = await _place_of_frame(bench, 5)
    await bench.kill_and_restart()
    after, _ = await _stated(bench)
    expect(after.ledger == before.ledger, f"the ledger's name {before.ledger}", after.ledger)
    _expect_frame(after, number)
    await bench.wait_ended(orders)


async def _executions(bench: Bench) -> None:
    await _stated(bench)
    orders = bench.orders(range(4), follower_shard=_SHARD)
    await bench.place(orders)
    await bench.wait_ended(orders)
    reports = await bench.reports()
    published = {name for report in reports.values() for name in report.executions}
    _, executions = await _stated(bench)
    for each in executions:
        expect(
            0 <= each.confirmed_number <= each.last_number,
            "a confirmed number from 0 to the last number",
            each,
        )
    numbers = [
        (int(name.removeprefix(each.prefix)), each.last_number)
        for each in executions
        for name in published
        if each.prefix and name.startswith(each.prefix) and name[len(each.prefix) :].isdecimal()
    ]
    above = [number for number, last in numbers if number > last]
    expect(not above, "no published execution above the last number stated", above)


async def _stated(bench: Bench) -> tuple[HistoryStated, tuple[ExecutionsStated, ...]]:
    """Introduce the gateway. Returns: what the program states of its history."""
    answer = await bench.ask()
    expect_accepted(answer, 0)
    if answer.stated is None:
        raise NotStated("its history")
    return answer.stated, answer.executions


async def _place_of_frame(bench: Bench, count: int) -> tuple[OrdersSubmitted, int]:
    """Place orders of a new frame. Returns: the orders, and the frame's number."""
    orders = bench.orders(range(count), follower_shard=_SHARD)
    # Higher than any number of an earlier run on the same ledger.
    number = bench.epoch * 1000 + orders.frame
    expect_accepted(await bench.ask(orders, _frame(number)), count)
    return orders, number


def _frame(number: int) -> FramesSent:
    return FramesSent(column_of(_SHARD), *(column_of(each) for each in _marks(number)))


def _marks(number: int) -> tuple[int, int, int]:
    return number, -number, number + 1


def _expect_frame(stated: HistoryStated, number: int) -> None:
    columns = (stated.frames, stated.frame_hashes, stated.frame_sequences)
    rows = zip(stated.follower_shards.tolist(), *(each.tolist() for each in columns), strict=True)
    found = {row[0]: row[1:] for row in rows}
    expect(
        found.get(_SHARD) == _marks(number),
        f"frame, hash and sequence {_marks(number)} of shard {_SHARD}, the highest sent",
        found.get(_SHARD),
    )


RULES = (
    Rule("stated", "an answer has the code of its kind", _codes),
    Rule("stated", "a block of another cluster is refused whole", _other_cluster),
    Rule(
        "stated",
        "an introduction is answered with the highest frame of each shard, and one ledger's name",
        _history,
    ),
    Rule("stated", "the executions stated are those made and confirmed", _executions),
    Rule(
        "stated",
        "another cluster is refused after the program was killed, too",
        _other_cluster_after_kill,
        needs_restart=True,
    ),
    Rule(
        "stated",
        "frames and the ledger's name are known after the program was killed",
        _history_after_kill,
        needs_restart=True,
    ),
)
