"""Rules about cancels: answered by an execution if they did something, else not."""

from gateways.brokers.acceptance.bench import Bench, expect_accepted
from gateways.brokers.acceptance.broken import expect
from gateways.brokers.acceptance.history import ids_of
from gateways.brokers.acceptance.rules.rule import Rule


async def _unknown(bench: Bench) -> None:
    never = bench.orders([1, 2])
    expect_accepted(await bench.ask(bench.cancels(never)), 0)
    after = bench.orders([1])
    await bench.place(after)
    await bench.wait_ended(after)
    reports = await bench.reports()
    found = [order for order in ids_of(never) if order in reports]
    expect(not found, "no execution of an order that never came", found)


async def _once(bench: Bench) -> None:
    orders = bench.orders(range(8))
    await bench.place(orders)
    for _ in range(3):
        expect_accepted(await bench.ask(bench.cancels(orders)), 0)
    await bench.wait_ended(orders)
    await _one_end(bench, orders)


async def _done(bench: Bench) -> None:
    orders, after = bench.orders(range(8)), bench.orders([1])
    await bench.place(orders)
    await bench.wait_ended(orders)
    expect_accepted(await bench.ask(bench.cancels(orders)), 0)
    await bench.place(after)
    await bench.wait_ended(after)
    await _one_end(bench, orders)


async def _one_end(bench: Bench, orders: object) -> None:
    reports = await bench.reports()
    for order in ids_of(orders):  # type: ignore[arg-type]
        report, quantity = reports[order], bench.history.terms[order].quantity
        ends = [each.exec_type.name.lower() for each in report.ends]
        if report.filled >= quantity:
            ends.append("filled")
        expect(len(ends) == 1, f"one end of order {order}", ", ".join(ends))


async def _mixed(bench: Bench) -> None:
    old, new = bench.orders(range(4)), bench.orders(range(4))
    await bench.place(old)
    expect_accepted(await bench.ask(bench.cancels(old), new, bench.cancels(old)), 4)
    await bench.wait_ended(old, new)
    await _one_end(bench, old)
    await _one_end(bench, new)


RULES = (
    Rule("cancels", "a cancel of an order that never came changes nothing", _unknown),
    Rule("cancels", "an order that is cancelled again and again ends once", _once),
    Rule("cancels", "a cancel of an order that is done changes nothing", _done),
    Rule("cancels", "cancels and orders may share a block", _mixed),
)
