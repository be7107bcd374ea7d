"""Golden bytes: old bytes read the same for ever, and the same values give the same bytes (P6).

A file under `golden/` is never changed. New section types get new files: `python -m
tests.engine.test_golden` writes the missing ones and touches no other. A changed layout needs a new
tag or a new FORMAT_VERSION, not new bytes here.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.columns.section_codec import decode_section, encode_section
from engine.columns.section_types import names_of
from engine.journal.events.orders import SignalDecided
from engine.journal.frame import decode_frame, encode_frame
from engine.messages.blocks import BlockAnswered, GatewayEpoch, decode_block, encode_block
from tests.engine.samples import BLOCKS, FRAMES, SECTIONS, sample

GOLDEN = Path(__file__).parent / "golden"


APPENDED = (SignalDecided, GatewayEpoch, BlockAnswered)
"""Sections with integers or texts that were appended later: their bytes without, and with them."""


def _section_file(section_type: type) -> str:
    return f"section_{section_type.TAG:03d}_{section_type.__name__}"  # type: ignore[attr-defined]


def _expected() -> dict[str, bytes]:
    sections = {_section_file(each): encode_section(sample(each)) for each in SECTIONS.values()}
    whole = {
        f"{_section_file(each)}_whole": encode_section(sample(each, is_whole=True))
        for each in APPENDED
    }
    return {**sections, **whole, **FRAMES, **BLOCKS}


def _assert_same(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    for name in names_of(type(expected)):
        one, other = getattr(found, name), getattr(expected, name)
        if isinstance(other, np.ndarray):
            assert one.dtype == np.int64
            assert one.tolist() == other.tolist(), name
        else:
            assert one == other, name


@pytest.mark.parametrize(("name", "data"), _expected().items(), ids=_expected())
def test_the_same_values_give_the_same_bytes(name: str, data: bytes) -> None:
    assert (GOLDEN / f"{name}.bin").read_bytes() == data


@pytest.mark.parametrize("section_type", SECTIONS.values(), ids=lambda each: each.__name__)
def test_old_sections_are_read(section_type: type) -> None:
    data = (GOLDEN / f"{_section_file(section_type)}.bin").read_bytes()
    _assert_same(decode_section(section_type, memoryview(data)), sample(section_type))


@pytest.mark.parametrize("section_type", APPENDED, ids=lambda each: each.__name__)
def test_sections_with_appended_fields_are_read(section_type: type) -> None:
    data = (GOLDEN / f"{_section_file(section_type)}_whole.bin").read_bytes()
    _assert_same(
        decode_section(section_type, memoryview(data)), sample(section_type, is_whole=True)
    )


@pytest.mark.parametrize("name", FRAMES)
def test_old_frames_are_read_and_written_again(name: str) -> None:
    data = (GOLDEN / f"{name}.bin").read_bytes()
    header, events = decode_frame(data)
    for event in events:
        _assert_same(event, sample(type(event)))
    assert encode_frame(header, events) == data


@pytest.mark.parametrize("name", BLOCKS)
def test_old_blocks_are_read_and_written_again(name: str) -> None:
    data = (GOLDEN / f"{name}.bin").read_bytes()
    assert encode_block(*decode_block(data)) == data


def test_every_golden_file_is_checked() -> None:
    """Snapshots are checked in `tests.engine.test_golden_snapshots`."""
    found = {path.stem for path in GOLDEN.glob("*.bin")}
    assert {name for name in found if not name.startswith("snapshot_")} == set(_expected())


def _write_missing() -> None:
    GOLDEN.mkdir(exist_ok=True)
    for name, data in _expected().items():
        path = GOLDEN / f"{name}.bin"
        if not path.exists():
            path.write_bytes(data)
            print(f"wrote {path}")


if __name__ == "__main__":
    _write_missing()
