"""The file: torn tails are cut, damage is refused, two owners are impossible."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.brokers.ledger.ledger import FILE_NAME, FileLedger, MemoryLedger, check_torn
from gateways.brokers.ledger.records import EpochSeen, FrameDraft, LedgerError


def frames(count: int) -> list[bytes]:
    ledger = MemoryLedger()
    made = []
    for number in range(1, count + 1):
        draft = FrameDraft(ledger.end, ledger.next_number)
        draft.add(EpochSeen(number))
        made.append(draft.seal())
        ledger.append(made[-1])
    return made


def fill(directory: Path, count: int) -> None:
    ledger = FileLedger(directory)
    assert list(ledger.replay()) == []
    for frame in frames(count):
        ledger.append(frame)
    ledger.close()


@pytest.mark.parametrize("lost", [1, 10, 27])
def test_a_torn_tail_is_cut_and_writing_goes_on(tmp_path: Path, lost: int) -> None:
    fill(tmp_path, 3)
    path = tmp_path / FILE_NAME
    path.write_bytes(path.read_bytes()[:-lost])
    ledger = FileLedger(tmp_path)
    assert [frame.number for frame in ledger.replay()] == [1, 2]
    assert ledger.torn_bytes > 0
    draft = FrameDraft(ledger.end, ledger.next_number)
    draft.add(EpochSeen(3))
    ledger.append(draft.seal())
    ledger.close()
    again = FileLedger(tmp_path)
    assert [frame.number for frame in again.replay()] == [1, 2, 3]
    again.close()


def test_zeros_after_a_power_cut_are_a_torn_tail(tmp_path: Path) -> None:
    fill(tmp_path, 2)
    with (tmp_path / FILE_NAME).open("ab") as file:
        file.write(bytes(100_000))
    ledger = FileLedger(tmp_path)
    assert len(list(ledger.replay())) == 2
    assert ledger.torn_bytes == 100_000
    ledger.close()


@given(st.integers(0, 500), st.integers(1, 255))
def test_damage_in_front_of_a_good_frame_is_refused(place: int, flip: int) -> None:
    made = frames(10)
    data = bytearray(b"".join(made))
    place %= len(data) - len(made[-1])
    data[place] ^= flip
    with pytest.raises(LedgerError, match="damage with a good frame behind it"):
        list(MemoryLedger(bytes(data)).replay())


def test_a_missing_frame_is_refused() -> None:
    made = frames(3)
    with pytest.raises(LedgerError, match=r"expected frame 2 at offset .*, found 3"):
        list(MemoryLedger(made[0] + made[2]).replay())


def test_good_frames_are_found_across_search_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateways.brokers.ledger.ledger._SEARCH_BYTES", 7)
    made = frames(2)
    with pytest.raises(LedgerError, match="damage"):
        check_torn(MemoryLedger(b"x" * 33 + made[0]), 0)


def test_a_ledger_has_one_owner(tmp_path: Path) -> None:
    first = FileLedger(tmp_path)
    with pytest.raises(LedgerError, match="holding the lock; stop that process first"):
        FileLedger(tmp_path, lock_wait_s=0.1)
    first.close()
    FileLedger(tmp_path).close()


def test_an_impossible_directory_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(LedgerError, match="expected a directory to write in"):
        FileLedger(tmp_path / "file")
