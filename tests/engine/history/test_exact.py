"""The audit's own arithmetic against Python's integers: exact to the last unit, floors and ceilings
as named.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.history.exact import fees_ceil, notionals
from engine.history.executions import ExecutionsGatherer
from engine.history.frames import JournalFrame
from engine.history.orders import CancelsGatherer, OrdersGatherer
from engine.history.outcomes import OrderIndex, order_outcomes
from engine.journal.cursors import NO_HASH
from engine.journal.events.orders import ExecutionsApplied, OrdersPlaced
from engine.journal.frame import FrameHeader, ShardKey, ShardKind
from engine.values.order_ids import OrderKey
from engine.values.order_status import ExecType, OrdStatus
from engine.values.order_terms import OrderTerms

_FRAME = JournalFrame(
    7, FrameHeader(ShardKey(ShardKind.FOLLOWER, 1), 1, 5, 0, NO_HASH, ()), NO_HASH, []
)


@given(st.lists(st.tuples(st.integers(0, 10**17), st.integers(1, 10**13)), max_size=20))
def test_p7_notionals_are_exact_or_refused(pairs: list[tuple[int, int]]) -> None:
    quantities = np.array([quantity for quantity, _ in pairs], np.int64)
    prices = np.array([price for _, price in pairs], np.int64)
    exact = [quantity * price for quantity, price in pairs]
    if any(value // 10**8 >= 1 << 61 for value in exact):
        return
    found = notionals(quantities, prices)
    assert found.floors.tolist() == [value // 10**8 for value in exact]
    assert found.ceils.tolist() == [-(-value // 10**8) for value in exact]


def test_p7_a_notional_beyond_64_bits_is_refused() -> None:
    with pytest.raises(OverflowError, match="expected amounts below"):
        notionals(np.array([10**17]), np.array([10**13]))


@given(st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 10**6)), max_size=20))
def test_p7_fees_round_up(pairs: list[tuple[int, int]]) -> None:
    amounts = np.array([amount for amount, _ in pairs], np.int64)
    rates = np.array([rate for _, rate in pairs], np.int64)
    assert fees_ceil(amounts, rates).tolist() == [
        -(-amount * rate // 10**6) for amount, rate in pairs
    ]


_trades = st.lists(st.tuples(st.integers(1, 10**13), st.integers(1, 10**9)), min_size=1, max_size=5)


@settings(deadline=None)
@given(_trades, st.sampled_from([1, -1]), st.integers(0, 5), st.booleans())
def test_an_orders_outcome_is_the_exact_sum_of_its_executions(
    trades: list[tuple[int, int]], side: int, more: int, is_ended: bool
) -> None:
    filled = sum(quantity for quantity, _ in trades)
    orders, executions, cancels = OrdersGatherer(1), ExecutionsGatherer(1), CancelsGatherer(1)
    one = np.array([3], np.int64)
    key, terms = OrderKey(0, 0, 9, 0, 0), OrderTerms(side, 1, 0, 0, 0, 0, 0)
    orders.add_placed(
        _FRAME,
        OrdersPlaced(0, 0, 0, key, terms, one, np.array([filled + more]), one),
    )
    reports = [(ExecType.TRADE, quantity, price) for quantity, price in trades]
    if is_ended:
        reports.append((ExecType.EXPIRED, 0, 0))
    for number, (exec_type, quantity, price) in enumerate(reports):
        columns = (
            np.array([value], np.int64) for value in (number, 3, exec_type, quantity, price, 2)
        )
        executions.add(_FRAME, ExecutionsApplied(1, "paper", "x-", key, 0, *columns))
    table = orders.table()
    found = order_outcomes(table, OrderIndex(table), executions.table(), cancels.table())
    values = [quantity * price for quantity, price in trades]
    cash = [value // 10**8 if side < 0 else -value // 10**8 for value in values]
    assert found.filled.tolist() == [filled]
    assert found.average_prices.tolist() == [sum(values) // filled]
    assert found.cash.tolist() == [sum(cash)]
    assert found.fees.tolist() == [2 * len(reports) if not is_ended else 2 * len(trades)]
    status = (
        OrdStatus.FILLED
        if not more
        else OrdStatus.EXPIRED
        if is_ended
        else OrdStatus.PARTIALLY_FILLED
    )
    assert found.status.tolist() == [status]
    assert found.leaves.tolist() == [0 if status is not OrdStatus.PARTIALLY_FILLED else more]
