"""Rules about executions, checked at the end over everything that the run has sent."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from engine.values.order_ids import OrderId
from engine.values.order_status import ENDS
from gateways.brokers.acceptance.bench import Bench
from gateways.brokers.acceptance.broken import expect
from gateways.brokers.acceptance.history import History, Known, Terms
from gateways.brokers.acceptance.reported import OrderReport
from gateways.brokers.acceptance.rules.rule import Rule

_SHOWN = 3


class _Run(NamedTuple):
    """Everything sent, and what became of it."""

    history: History
    reports: dict[OrderId, OrderReport]

    def known(self) -> Iterator[tuple[OrderId, Terms, OrderReport]]:
        """Yield the orders of this run that were reported on, with terms and report."""
        for order, report in self.reports.items():
            if order in self.history.terms:
                yield order, self.history.terms[order], report


Law = Callable[[_Run], Iterator[str]]
"""Yields each breach of a law."""


async def _keeps(bench: Bench, law: Law) -> None:
    _none(list(law(_Run(bench.history, await bench.reports()))))


def _none(breaches: list[str]) -> None:
    found = f"{len(breaches)}: {'; '.join(breaches[:_SHOWN])}"
    expect(not breaches, "none", found)


async def _readable(bench: Bench) -> None:
    await bench.reports()
    _none(bench.reported.unreadable)


async def _same_id_same_execution(bench: Bench) -> None:
    await bench.reports()
    _none(bench.reported.conflicts)


async def _all_end(bench: Bench) -> None:
    known = bench.history.known.items()
    await bench.wait_over([order for order, state in known if state is Known.TAKEN])


def _never_sent(run: _Run) -> Iterator[str]:
    causes = {(order.creator_shard, order.cause_number) for order in run.history.terms}
    for order in run.reports:
        is_ours = (order.creator_shard, order.cause_number) in causes
        if is_ours and order not in run.history.terms:
            yield f"order {order} was never sent"


def _refused(run: _Run) -> Iterator[str]:
    for order, _, report in run.known():
        if run.history.known[order] is Known.REFUSED:
            yield f"order {order} was refused and has {len(report.executions)} executions"


def _overfilled(run: _Run) -> Iterator[str]:
    for order, terms, report in run.known():
        if report.filled > terms.quantity:
            yield f"order {order} of {terms.quantity} was filled {report.filled}"


def _ended_twice(run: _Run) -> Iterator[str]:
    for order, terms, report in run.known():
        is_filled = report.filled >= terms.quantity
        if not report.is_corrected and len(report.ends) + is_filled > 1:
            kinds = [each.exec_type.name.lower() for each in report.ends]
            yield f"order {order} ended as {', '.join(kinds)}{' and filled' * is_filled}"


def _worked_on(run: _Run) -> Iterator[str]:
    for order, _, report in run.known():
        kinds = [each.exec_type for each in report.executions.values()]
        ends = [place for place, kind in enumerate(kinds) if kind in ENDS]
        if not report.is_corrected and ends and ends[0] != len(kinds) - 1:
            yield f"order {order} has executions behind its {kinds[ends[0]].name.lower()}"


def _limits(run: _Run) -> Iterator[str]:
    for order, terms, report in run.known():
        for each in report.trades:
            if terms.limit_price and terms.side * (each.price - terms.limit_price) > 0:
                yield f"order {order} with limit {terms.limit_price} traded at {each.price}"


def _expired(run: _Run) -> Iterator[str]:
    for order, terms, report in run.known():
        for each in report.trades:
            if terms.expire_time and each.transact_time >= terms.expire_time:
                yield f"order {order} traded {each.transact_time - terms.expire_time} ns too late"


async def _late_or_bad_orders(bench: Bench) -> None:
    """Send orders whose limit or time forbids a trade, and wait for their end."""
    price = bench.options.price
    orders = [
        bench.orders([1, 2], limit_price=price - price // 10),
        bench.orders([1, 2], side=-1, limit_price=price + price // 10),
        bench.orders([1, 2], expire_time=1),
        bench.orders([1, 2], side=-1, limit_price=0),
    ]
    await bench.place(*orders)
    await bench.wait_ended(*orders)


def _law(text: str, law: Law) -> Rule:
    return Rule("executions", text, partial(_keeps, law=law))


RULES = (
    Rule(
        "executions",
        "orders that their limit or expiry keeps from trading end as well",
        _late_or_bad_orders,
    ),
)
LAST_RULES = (
    Rule(
        "executions",
        "Lockstep can read every message, which is published under the shard of its orders",
        _readable,
    ),
    Rule(
        "executions",
        "an execution id stands for one execution of an account",
        _same_id_same_execution,
    ),
    Rule("executions", "every order that was taken has ended", _all_end),
    _law("no order was executed that was never sent", _never_sent),
    _law("no order was executed whose block was refused", _refused),
    _law("no order was filled beyond its quantity", _overfilled),
    _law("no order ended twice", _ended_twice),
    _law("no order was executed after it had been canceled, expired or rejected", _worked_on),
    _law("no order traded beyond its limit", _limits),
    _law("no order traded at or after its expiry", _expired),
)
