"""Books in snapshots: fields are found by name, in any order. Missing ones take defaults."""

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.columns.snapshot import NewerSnapshotError, decode_snapshot
from engine.columns.state import encode_state
from engine.follower.book import Book
from engine.follower.books_state import BOOK_RECORDS, restore_books
from engine.follower.snapshot_schema import FOLLOWER_SCHEMA
from engine.values.units import POSITION_UNKNOWN

COUNT = 3
WIDTHS = {
    "book.wide": np.int64,
    "book.narrow": np.uint32,
    "book.status": np.uint8,
    "book.shared_narrow": np.uint8,
    "book.shared_wide": np.int64,
    "book.values": np.int64,
}
"""The types of the records whose fields are columns, in the order in which a book has them."""
SLOTS = [
    {"instrument": 7, "lot": 100, "min_notional": 5, "mark": 11, "creator_position": -9, "new": 1},
    {"instrument": 2, "lot": 1, "min_notional": 0, "mark": 12, "creator_position": 4, "new": 2},
]


def value(record: str, field: str, row: int) -> int:
    """Give each field of each row a value of its own, below 200; a shared column has every other
    one the same in all rows.
    """
    known = list(BOOK_RECORDS[record])
    number = known.index(field) if field in known else len(known)
    is_one = record.startswith("book.shared") and number % 2 == 0
    return 10 * number + (1 if is_one else row) + 1


def words_of(fields: dict[str, list[str]]) -> list[int]:
    """Write a book of two slots as some version might."""
    shared = [
        (each, name) for each in ("book.shared_narrow", "book.shared_wide") for name in fields[each]
    ]
    columns = {
        (record, name): [value(record, name, row) for row in range(COUNT)]
        for record in WIDTHS
        for name in fields[record]
    }
    varied = sum(1 << at for at, each in enumerate(shared) if len(set(columns[each])) > 1)
    header = {"creator_shard": 3, "creator": 5, "slots_count": 2, "count": COUNT, "varied": varied}
    words = [header[name] for name in fields["book"]]
    words += [0 if varied >> at & 1 else columns[each][0] for at, each in enumerate(shared)]
    words += [slot[name] for slot in SLOTS for name in fields["book.slot"]]
    parts = [[columns[record, name] for name in fields[record]] for record in list(WIDTHS)[:3]]
    parts += [[columns[each]] for at, each in enumerate(shared) if varied >> at & 1]
    dtypes = [WIDTHS[record] for record in list(WIDTHS)[:3]]
    dtypes += [WIDTHS[record] for at, (record, _) in enumerate(shared) if varied >> at & 1]
    for part, dtype in zip(parts, dtypes, strict=True):
        data = np.array(part, dtype).tobytes()
        words += np.frombuffer(data + bytes(-len(data) % 8), np.int64).tolist()
    for _ in SLOTS:
        words += [each for name in fields["book.values"] for each in columns["book.values", name]]
    return words


def restored(fields: dict[str, list[str]], *, optional: list[str]) -> Book:
    schema = msgspec.json.encode({"layout": 4, "fields": fields, "optional": optional})
    columns: dict[str, Any] = {
        ".schema": np.frombuffer(schema, np.uint8),
        "book.0000000000": np.array(words_of(fields) * 2, np.int64),
    }
    first, second = restore_books(decode_snapshot(encode_state(columns), FOLLOWER_SCHEMA))
    assert (first.index, second.index) == (0, 1)
    return second


def expected(fields: dict[str, list[str]], record: str, field: str, row: int) -> int:
    return value(record, field, row) if field in fields[record] else 0


@given(st.randoms(use_true_random=False), st.booleans())
def test_a_books_fields_are_found_by_name_and_missing_ones_take_their_defaults(
    rng: Any, has_new: bool
) -> None:
    fields = {record: list(names) for record, names in BOOK_RECORDS.items()}
    for record, names in fields.items():
        if record in WIDTHS:
            rng.shuffle(names)
            del names[rng.randint(1, len(names)) :]
        if has_new and record in ("book.slot", "book.wide", "book.shared_narrow", "book.values"):
            names.append("new")
        rng.shuffle(names)
    if rng.random() < 0.5:
        fields["book.slot"].remove("creator_position")
    book = restored(fields, optional=[f"{record}.new" for record in fields])
    assert (book.creator_shard, book.creator, book.count) == (3, 5, COUNT)
    for record in list(WIDTHS)[:5]:
        for name in BOOK_RECORDS[record]:
            rows = [expected(fields, record, name, row) for row in range(COUNT)]
            assert book.subscriptions[name].tolist() == rows, name
    has_position = "creator_position" in fields["book.slot"]
    for slot, told in zip(book.slots, SLOTS, strict=True):
        assert (slot.instrument, slot.lot, slot.mark) == (
            told["instrument"],
            told["lot"],
            told["mark"],
        )
        assert slot.creator_position == (
            told["creator_position"] if has_position else POSITION_UNKNOWN
        )
        for values, name in zip(slot.values, BOOK_RECORDS["book.values"], strict=True):
            assert values.tolist() == [
                expected(fields, "book.values", name, row) for row in range(COUNT)
            ]


def test_an_unknown_field_of_a_book_is_refused() -> None:
    fields = {record: list(names) for record, names in BOOK_RECORDS.items()}
    fields["book.wide"].append("new")
    with pytest.raises(NewerSnapshotError, match=r"field book.wide.new is unknown"):
        restored(fields, optional=[])
