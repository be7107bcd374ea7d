"""Old ledgers are read, and written again byte for byte."""

from pathlib import Path

import pytest

from gateways.brokers.ledger.ledger import FILE_NAME, MemoryLedger
from gateways.brokers.ledger.ledger_reader import LedgerReader
from gateways.brokers.ledger.records import OrdersTaken, walk_records
from gateways.brokers.paper.memory import MemoryPaperBroker
from tests.gateways.brokers.builders import Clock, Reported, accounts, answer, block, orders
from tests.gateways.brokers.paper.stories import FAULTY, GOLDEN, SETTINGS, tell

NAMES = sorted(SETTINGS)
TOLD = [name for name in NAMES if name not in FAULTY]


def test_every_golden_ledger_has_a_story() -> None:
    assert sorted(path.stem for path in GOLDEN.glob("*.ledger")) == NAMES


@pytest.mark.parametrize("name", TOLD)
async def test_a_story_told_again_leaves_the_same_bytes(name: str) -> None:
    ledger, _, _ = await tell(name)
    assert bytes(ledger.data) == (GOLDEN / f"{name}.ledger").read_bytes()


@pytest.mark.parametrize("name", NAMES)
async def test_an_old_ledger_is_read_and_written_on(name: str) -> None:
    data = (GOLDEN / f"{name}.ledger").read_bytes()
    old = MemoryLedger(data)
    taken = [
        record
        for frame in old.replay()
        for record in walk_records(frame.offset, frame.payload)
        if record.tag == OrdersTaken.TAG
    ]
    ledger = MemoryLedger(data)
    broker = MemoryPaperBroker(SETTINGS[name], Clock(), Reported(), ledger=ledger)
    assert len(taken) > 50 and bytes(ledger.data).startswith(data)
    reply = answer(await broker.submit(block(accounts(), orders([1]), epoch=2)))
    assert reply.refusal == "epoch: expected 3 or higher, found 2; a newer gateway took over"
    assert ledger.next_number >= old.next_number
    assert bytes(ledger.data).startswith(data)


@pytest.mark.parametrize("name", FAULTY)
def test_the_reader_for_audits_reads_what_a_faulty_version_wrote(name: str, tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes((GOLDEN / f"{name}.ledger").read_bytes())
    reader = LedgerReader(tmp_path)
    assert sum(len(batch.numbers) for batch in reader.executions()) > 100
    assert len(list(reader.corrections())) == 2


@pytest.mark.parametrize("name", TOLD)
async def test_the_reader_for_audits_reads_an_old_ledger(name: str, tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes((GOLDEN / f"{name}.ledger").read_bytes())
    _, _, reported = await tell(name)
    reader = LedgerReader(tmp_path)
    assert reader.broker() == ("paper", "golden")
    read = {
        f"{batch.prefixes[prefix]}{number}"
        for batch in reader.executions()
        for prefix, number in zip(batch.prefix_of.tolist(), batch.numbers.tolist(), strict=True)
    }
    corrections = {
        f"{section.prefix}{number}"
        for section in reader.corrections()
        for number in section.numbers.tolist()
    }
    assert len(corrections) == 2
    assert read | corrections == set(reported.executions())
