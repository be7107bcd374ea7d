"""Trade cancels and corrections of executions and fills: the audit passes a cluster with them, and
names every planted fault in them (P7, P8).
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from cluster.replay.broker_csv import net_of
from engine.history.followers import FollowerTables
from engine.history.frames import JournalFrame
from engine.journal.chain import Chain
from engine.journal.cursors import NO_HASH
from engine.journal.events.creator import FillCorrected
from engine.journal.events.orders import TradesCorrected
from engine.journal.frame import FrameHeader, decode_frame
from engine.messages.blocks import CorrectionsReported
from engine.values.order_status import ExecType
from engine.values.refusals import Refused
from gateways.brokers.ledger.ledger_reader import LedgerReader
from gateways.brokers.paper.corrections import CorrectionAsked
from gateways.brokers.paper.settings import FillSettings
from tests.audit.memory_cluster import MemoryCluster, memory_cluster
from tests.audit.planting import CREATOR, FOLLOWERS, Recording, with_value


async def corrected_story(cluster: MemoryCluster) -> None:
    """Let four accounts buy and sell, the broker take back and correct trades of it, and the
    creator's broker fills.
    """
    await cluster.command("commands.creator.anna", "open_creator", cash="100000")
    for number in range(4):
        await cluster.command(f"commands.account.a{number}", "open_account")
        await cluster.follow(f"a{number}", "anna", "1000", mode="multiplier", ratio="0.01")
    first = await cluster.fill("anna", "AAA", "buy", "200", "100")
    second = await cluster.fill("anna", "AAA", "buy", "100", "110")
    names = cluster.traded()
    cancel, correct = ExecType.TRADE_CANCEL, ExecType.TRADE_CORRECT
    told = [
        CorrectionAsked(cancel, names[0]),
        CorrectionAsked(correct, names[1], 10**8, 99 * 10**6, 10**4),
        CorrectionAsked(cancel, names[2], is_reopened=True),
    ]
    done = [cluster.broker.correct(asked) for asked in told]
    assert all(isinstance(name, str) for name in done), done
    await cluster.drained()
    again = cluster.broker.correct(CorrectionAsked(cancel, names[0]))
    assert isinstance(again, Refused) and again.reason == "already_canceled"
    assert isinstance(cluster.broker.correct(CorrectionAsked(cancel, str(done[1]))), str)
    await cluster.drained()
    await cluster.correct_fill(first, "anna", "AAA", "buy", exec_type="trade_cancel")
    await cluster.correct_fill(
        second, "anna", "AAA", "buy", exec_type="trade_correct", last_qty="120", last_px="109.5"
    )
    await cluster.pass_time(minutes=3)


@pytest.fixture(scope="module")
def told() -> Recording:
    async def run() -> Recording:
        async with memory_cluster() as cluster:
            await corrected_story(cluster)
        return Recording(cluster.server, bytes(cluster.broker.ledger.data))

    return asyncio.run(run())


@pytest.fixture
def corrected(told: Recording) -> Recording:
    return told.copy()


def followers(recording: Recording) -> list[FollowerTables]:
    found = []
    for key in FOLLOWERS:
        tables, chain = FollowerTables(key.shard), Chain(key)
        for message in recording.frames(key):
            if chain.accept(message.data) is not None:
                tables.add(JournalFrame(message.sequence, *_frame(message.data)))
        found.append(tables)
    return found


def _frame(data: bytes) -> tuple[FrameHeader, bytes, list[Any]]:
    header, events = decode_frame(data)
    return header, NO_HASH, events


async def test_a_run_with_corrections_passes_and_counts_them(
    corrected: Recording, tmp_path: Path
) -> None:
    report = await corrected.audit(tmp_path)
    assert report.passed, report
    counted = {name: value for check in report.checks for name, value in check.counts.items()}
    assert counted["corrected"] == counted["corrected_at_brokers"] == 4
    assert counted["fills_corrected"] == 2


async def test_p8_a_second_end_of_a_closed_order_is_no_fault(tmp_path: Path) -> None:
    """The broker works an order again while there are open orders of the other side, and cancels it
    at once.
    """
    async with memory_cluster(FillSettings(fill_delay_ms=10)) as cluster:
        await cluster.command("commands.creator.anna", "open_creator", cash="100000")
        await cluster.command("commands.account.ann", "open_account")
        await cluster.follow("ann", "anna", "1000", mode="multiplier", ratio="0.01")
        await cluster.fill("anna", "AAA", "buy", "200", "100")
        await cluster.pass_ms(10)
        (name,) = cluster.traded()
        await cluster.fill("anna", "AAA", "sell", "100", "100")
        asked = CorrectionAsked(ExecType.TRADE_CANCEL, name, is_reopened=True)
        assert isinstance(cluster.broker.correct(asked), str)
        await cluster.drained()
        await cluster.pass_time(minutes=3)
    recording = Recording(cluster.server, bytes(cluster.broker.ledger.data))
    report = await recording.audit(tmp_path)
    assert report.passed, "\n".join(report.lines())
    assert report["P8"].counts["of_closed"] == 1
    recording.change_event(
        TradesCorrected,
        lambda event: [replace(event, leaves=event.order_quantities - event.filled)],
    )
    assert "found it nowhere in the journal" in (await recording.audit(tmp_path))["P8"].offender


async def test_the_ledgers_net_trades_are_the_positions(
    corrected: Recording, tmp_path: Path
) -> None:
    """The trades in broker.csv add up to the accounts' positions."""
    corrected.store(tmp_path)
    reader = LedgerReader(tmp_path / "paper")
    (executions,) = reader.executions()
    net = net_of(executions, list(reader.corrections()))
    sides = {
        (shard, number): side
        for orders in reader.orders()
        for shard, number, side in zip(
            orders.follower_shards.tolist(),
            orders.cause_numbers.tolist(),
            orders.sides.tolist(),
            strict=True,
        )
    }
    held = sum(
        sides[shard, number] * quantity
        for shard, number, kind, quantity in zip(
            net.follower_shards.tolist(),
            net.cause_numbers.tolist(),
            net.exec_types.tolist(),
            net.quantities.tolist(),
            strict=True,
        )
        if kind == ExecType.TRADE
    )
    positions = [
        slot.position[: book.count].sum()
        for tables in followers(corrected)
        for book in tables.state.books
        for slot in book.slots
    ]
    assert held == sum(positions)
    assert len(net.numbers) < len(executions.numbers)


def _twice(event: TradesCorrected) -> list[Any]:
    return [event, replace(event, prefix="again-", numbers=event.numbers)]


FOLLOWER_FAULTS: dict[str, Callable[[TradesCorrected], list[Any]]] = {
    "nothing reversed": lambda event: [],
    "reversed twice": _twice,
    "another price reversed": lambda event: [with_value(event, "old_prices", 0, 1)],
    "another fee reversed": lambda event: [with_value(event, "old_fees", 0, 777)],
    "another trade named": lambda event: [with_value(event, "reference_numbers", 0, 10**9)],
    "more filled than its trades": lambda event: [with_value(event, "filled", 0, 12345)],
    "other new trade": lambda event: [with_value(event, "prices", 0, 12345)],
}


@pytest.mark.parametrize("name", FOLLOWER_FAULTS)
async def test_p8_a_wrong_correction_of_an_execution_is_named(
    name: str, corrected: Recording, tmp_path: Path
) -> None:
    corrected.change_event(TradesCorrected, FOLLOWER_FAULTS[name])
    report = await corrected.audit(tmp_path)
    assert not report.passed
    assert any("correction" in check.offender for check in report.checks), report


async def test_p8_a_correction_gone_from_the_ledger_is_named(
    corrected: Recording, tmp_path: Path
) -> None:
    def changed(section: CorrectionsReported) -> list[Any]:
        return [
            replace(
                section, exec_types=np.array([ExecType.TRADE_CORRECT]), quantities=np.array([7])
            )
        ]

    corrected.change_ledger(CorrectionsReported, changed)
    report = await corrected.audit(tmp_path)
    assert any("expected what the ledger says" in check.offender for check in report.checks), report


OTHER_FILL = "fill-10"
"""The story's first fill."""

CREATOR_FAULTS: dict[str, Callable[[FillCorrected], FillCorrected]] = {
    "other cash": lambda event: replace(event, cash_change=event.cash_change + 1),
    "another fill meant": lambda event: replace(event, reference=OTHER_FILL),
    "another price reversed": lambda event: replace(event, old_price=event.old_price + 1),
}


@pytest.mark.parametrize("name", CREATOR_FAULTS)
async def test_p7_a_wrong_correction_of_a_fill_is_named(
    name: str, corrected: Recording, tmp_path: Path
) -> None:
    def change(header: FrameHeader, events: list[Any]) -> list[Any]:
        return [
            CREATOR_FAULTS[name](each) if isinstance(each, FillCorrected) else each
            for each in events
        ]

    corrected.rewrite(CREATOR, change)
    report = await corrected.audit(tmp_path)
    assert any(check.offender.startswith("creator anna") for check in report.checks), report
