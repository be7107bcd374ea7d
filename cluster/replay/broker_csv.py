"""broker.csv, and the time until the broker had its orders: both from the paper broker's own
ledger, independent of what the cluster says of itself.

Order of rows: by follower shard, then as the broker numbered the shard's executions. Only trades
are written; orders.csv has orders that ended without one. Trades count net: a cancelled or
corrected trade is left out, and a correction is a trade under its own id.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from cluster.replay.outcome import ReplayOutcome
from cluster.replay.texts import Ints, U64s, csv_fields, order_id_texts, scaled_texts
from engine.history.outcomes import CauseIndex
from engine.messages.blocks import CorrectionsReported
from engine.values.order_ids import order_tails
from engine.values.order_status import ExecType
from gateways.brokers.ledger.ledger_reader import LedgerExecutions, LedgerOrders, LedgerReader

BROKER_HEADER = "exec_id,order_id,account_id,symbol,side,quantity,price"
_BATCH_ROWS = 1 << 18
_SUBSCRIPTION_BITS = np.uint64(32)


class BrokerTotals(NamedTuple):
    """Totals of the ledger. `latencies_ns` has one row per fill that led to orders, in the order of
    fills. It is the time from just before the fill was published until the broker took its last
    order, both by this machine's clock.
    """

    orders_count: int
    trades_count: int
    latencies_ns: Ints


class _Taken(NamedTuple):
    """Orders of the ledger by id. Shapes: `keys` ascend, `rows` are the rows of the other
    columns.
    """

    causes: CauseIndex
    keys: U64s
    rows: Ints
    shards: Ints
    accounts: Ints
    sides: Ints
    symbol_of: Ints
    symbols: list[str]


def write_broker(path: Path, outcome: ReplayOutcome) -> BrokerTotals:
    """Write broker.csv. Raises: LedgerError."""
    reader = LedgerReader(outcome.ledger)
    batches = list(reader.orders())
    taken = _index(batches)
    accounts = _accounts(reader)
    trades = 0
    with path.open("w", encoding="utf-8", newline="") as target:
        target.write(BROKER_HEADER + "\n")
        for executions in reader.executions(rows_min=1 << 62):
            executions = net_of(executions, list(reader.corrections()))
            chosen = np.flatnonzero(executions.exec_types == ExecType.TRADE)
            order = np.lexsort((executions.numbers[chosen], executions.follower_shards[chosen]))
            trades = len(chosen)
            for first in range(0, trades, _BATCH_ROWS):
                rows = chosen[order[first : first + _BATCH_ROWS]]
                target.write(_lines(executions, rows, taken, accounts))
    return BrokerTotals(
        sum(len(batch.subscriptions) for batch in batches), trades, _latencies(outcome, batches)
    )


def net_of(
    executions: LedgerExecutions, corrections: list[CorrectionsReported]
) -> LedgerExecutions:
    """Return the executions without those that were cancelled or corrected, and with corrections as
    trades under their own ids.
    """
    if not corrections:
        return executions
    prefixes = list(executions.prefixes)
    added: list[tuple[int, ...]] = []
    replaced: set[tuple[str, int]] = set()
    for section in corrections:
        prefix = prefixes.index(section.prefix)
        columns = zip(
            section.subscriptions.tolist(),
            section.numbers.tolist(),
            section.reference_numbers.tolist(),
            section.exec_types.tolist(),
            section.quantities.tolist(),
            section.prices.tolist(),
            section.fees.tolist(),
            strict=True,
        )
        for subscription, number, reference, exec_type, quantity, price, fee in columns:
            replaced.add((section.reference_prefix, reference))
            if exec_type == ExecType.TRADE_CORRECT:
                added.append(
                    (
                        section.follower_shard,
                        *section.key,
                        subscription,
                        number,
                        ExecType.TRADE,
                        quantity,
                        price,
                        fee,
                        section.transact_time,
                        prefix,
                    )
                )
    rows = np.array(added, np.int64).reshape(-1, len(LedgerExecutions._fields) - 1).T
    joined = [
        np.concatenate((getattr(executions, name), column))
        for name, column in zip(LedgerExecutions._fields[:-1], rows, strict=True)
    ]
    whole = LedgerExecutions._make((*joined, prefixes))
    names = zip(whole.prefix_of.tolist(), whole.numbers.tolist(), strict=True)
    counts = [(prefixes[prefix], number) not in replaced for prefix, number in names]
    return _chosen(whole, np.flatnonzero(counts))


def _highs(table: LedgerOrders | LedgerExecutions) -> U64s:
    """Return the upper halves of the order ids."""
    high = (
        table.follower_shards << 50
        | table.cause_kinds << 48
        | table.creator_shards << 36
        | table.cause_numbers
    )
    return high.view(np.uint64)


def _index(batches: list[LedgerOrders]) -> _Taken:
    symbols: dict[str, int] = {}
    columns: list[tuple[np.ndarray[tuple[int], np.dtype[np.int64]], ...]] = []
    for batch in batches:
        numbers = np.array(
            [symbols.setdefault(text, len(symbols)) for text in batch.symbols], np.int64
        )
        columns.append(
            (
                batch.follower_shards,
                batch.accounts,
                batch.sides,
                numbers[batch.symbol_of],
                batch.subscriptions,
            )
        )
    empty = np.zeros(0, np.int64)
    joined = (
        [np.concatenate(parts) for parts in zip(*columns, strict=True)] if columns else [empty] * 5
    )
    highs = np.concatenate([_highs(batch) for batch in batches] or [empty.view(np.uint64)])
    tails = np.concatenate(
        [order_tails(batch.legs, batch.attempts) for batch in batches] or [empty.view(np.uint64)]
    )
    causes = CauseIndex(highs, tails)
    keys = causes.find(highs, tails).astype(np.uint64) << _SUBSCRIPTION_BITS | joined[4].astype(
        np.uint64
    )
    rows = np.argsort(keys, kind="stable")
    return _Taken(
        causes,
        keys[rows],
        rows,
        joined[0],
        joined[1],
        joined[2],
        joined[3],
        csv_fields(list(symbols)),
    )


def _accounts(reader: LedgerReader) -> dict[int, list[str]]:
    """Return the accounts of each follower shard, as they were registered with the broker."""
    found: dict[int, list[str]] = {}
    for accounts in reader.accounts():
        known = found.setdefault(accounts.follower_shard, [])
        known[accounts.first :] = accounts.ids
    return found


def _lines(
    executions: LedgerExecutions, rows: Ints, taken: _Taken, accounts: dict[int, list[str]]
) -> str:
    part = _chosen(executions, rows)
    highs, tails = _highs(part), order_tails(part.legs, part.attempts)
    subscriptions = part.subscriptions.astype(np.uint64) << _SUBSCRIPTION_BITS
    keys = taken.causes.find(highs, tails).astype(
        np.uint64
    ) << _SUBSCRIPTION_BITS | part.subscriptions.astype(np.uint64)
    orders = taken.rows[np.searchsorted(taken.keys, keys)]
    numbers = zip(part.prefix_of.tolist(), part.numbers.tolist(), strict=True)
    owners = zip(taken.shards[orders].tolist(), taken.accounts[orders].tolist(), strict=True)
    columns = zip(
        [f"{part.prefixes[prefix]}{number}" for prefix, number in numbers],
        order_id_texts(highs, subscriptions | tails),
        [accounts[shard][number] for shard, number in owners],
        [taken.symbols[number] for number in taken.symbol_of[orders].tolist()],
        ["buy" if side > 0 else "sell" for side in taken.sides[orders].tolist()],
        scaled_texts(part.quantities, 8),
        scaled_texts(part.prices, 6),
        strict=True,
    )
    return "".join([",".join(fields) + "\n" for fields in columns])


def _chosen(executions: LedgerExecutions, rows: Ints) -> LedgerExecutions:
    columns = {
        name: getattr(executions, name)[rows]
        for name in LedgerExecutions._fields
        if name != "prefixes"
    }
    return executions._replace(**columns)


def _latencies(outcome: ReplayOutcome, batches: list[LedgerOrders]) -> Ints:
    last: dict[int, int] = {}
    for batch in batches:
        distinct, of_row = np.unique(_highs(batch), return_inverse=True)
        newest = np.zeros(len(distinct), np.int64)
        np.maximum.at(newest, of_row, batch.taken_times)
        for high, taken_time in zip(distinct.tolist(), newest.tolist(), strict=True):
            fill = outcome.fill_of(high)
            if fill >= 0:
                last[fill] = max(last.get(fill, 0), taken_time)
    fills = outcome.published.fills
    return np.array([last[fill] - fills[fill].ts_published_ns for fill in sorted(last)], np.int64)
