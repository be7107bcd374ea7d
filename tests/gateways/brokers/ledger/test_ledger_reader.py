"""The auditor's view of a ledger."""

from pathlib import Path

import numpy as np
import pytest

from engine.values.order_status import ExecType
from gateways.brokers.ledger.ledger import FILE_NAME, FileLedger
from gateways.brokers.ledger.ledger_reader import LedgerReader
from gateways.brokers.ledger.records import LedgerError
from gateways.brokers.paper.settings import FillSettings
from tests.gateways.brokers.builders import (
    EVENT_TIME,
    MARK,
    SHARES_10,
    accounts,
    block,
    orders,
    paper_core,
)


def write(directory: Path, *blocks: bytes) -> FileLedger:
    ledger = FileLedger(directory)
    core = paper_core(ledger, FillSettings(fee_rate_micros=1000), ledger_id="abcd")
    for each in blocks:
        core.take(each, EVENT_TIME)
        ledger.append(core.end_turn().frame)
        core.committed()
    return ledger


def test_orders_executions_and_accounts_come_as_columns_while_the_broker_runs(
    tmp_path: Path,
) -> None:
    first = block(
        accounts(),
        accounts(1),
        orders([1, 5]),
        orders([2], follower_shard=1, symbol="MSFT", side=-1, limit_price=0),
    )
    ledger = write(tmp_path, first, block(orders([9], cause_number=2, expire_time=5, frame=8)))
    reader = LedgerReader(tmp_path)
    assert reader.broker() == ("paper", "abcd")
    assert [(found.follower_shard, found.first, len(found.ids)) for found in reader.accounts()] == [
        (0, 0, 64),
        (1, 0, 64),
    ]
    (taken,) = reader.orders()
    assert taken.follower_shards.tolist() == [0, 0, 1, 0]
    assert taken.subscriptions.tolist() == [1, 5, 2, 9]
    assert taken.accounts.tolist() == [1, 5, 2, 9]
    assert taken.sides.tolist() == [1, 1, -1, 1]
    assert taken.cause_numbers.tolist() == [1, 1, 1, 2]
    assert taken.frames.tolist() == [7, 7, 7, 8]
    assert taken.limit_prices.tolist() == [MARK + 1_000_000, MARK + 1_000_000, 0, MARK + 1_000_000]
    assert [taken.symbols[index] for index in taken.symbol_of] == ["AAPL", "AAPL", "MSFT", "AAPL"]
    (made,) = reader.executions()
    ids = [
        f"{made.prefixes[of]}{number}"
        for of, number in zip(made.prefix_of, made.numbers, strict=True)
    ]
    assert ids == ["paper-abcd-0-1", "paper-abcd-0-2", "paper-abcd-1-1", "paper-abcd-0-3"]
    assert made.exec_types.tolist() == [ExecType.TRADE] * 3 + [ExecType.EXPIRED]
    assert made.quantities.tolist() == [SHARES_10] * 3 + [0]
    assert made.prices.tolist() == [MARK] * 3 + [0]
    assert made.fees.tolist() == [1_900_000] * 3 + [0]
    assert (made.transact_times == EVENT_TIME).all()
    ledger.close()


def test_batches_are_bounded(tmp_path: Path) -> None:
    ledger = write(
        tmp_path,
        block(accounts()),
        *(block(orders(range(10), cause_number=cause)) for cause in range(1, 8)),
    )
    reader = LedgerReader(tmp_path)
    assert [len(found.subscriptions) for found in reader.orders(20)] == [20, 20, 20, 10]
    assert np.concatenate([found.numbers for found in reader.executions(30)]).tolist() == list(
        range(1, 71)
    )
    ledger.close()


def test_a_torn_tail_ends_reading_and_damage_raises(tmp_path: Path) -> None:
    write(tmp_path, block(accounts()), block(orders([1])), block(orders([2]))).close()
    path = tmp_path / FILE_NAME
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    reader = LedgerReader(tmp_path)
    assert [found.subscriptions.tolist() for found in reader.orders()] == [[1]]
    path.write_bytes(whole[:100] + b"\x00\xff" + whole[102:])
    with pytest.raises(LedgerError, match="damage"):
        list(reader.orders())
    with pytest.raises(LedgerError, match="expected a paper broker's ledger"):
        list(LedgerReader(tmp_path / "none").orders())
