"""Snapshots: states as bytes that every later version reads.

A snapshot names everything that it holds. Layout 4 begins with a column `.schema`, in JSON: the
layout, and for each record its fields in the order in which they were written. A record is a
column, or a part of one, whose rows hold several values. The state's columns follow in order of
their names, encoded as in `engine.columns.state`. Layout 3 had no `.schema`: each kind of shard
knows which fields its records had.

Rules:

1. A field that is missing takes its declared default. Where none is declared, the snapshot is
   refused.
2. A column or field that is unknown is skipped if its writer says that it is optional. Otherwise a
   newer version wrote something that matters: `NewerSnapshotError`.
3. So fields are added, moved and dropped without a new layout. The layout changes when something
   else does, and then its old form keeps its reader.
4. The bytes have a digest of their own, which is stored beside them. It covers all that is in a
   snapshot; the state's hash covers the columns that `columns()` returns.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.columns.codec import ColumnError
from engine.columns.state import AnyColumn, State, column_header, decode_state

STATE_LAYOUT = 4
"""The layout that this version writes."""
LAYOUT_MIN = 3
"""The oldest layout that this version reads."""

Records = Mapping[str, Mapping[str, Any]]
"""The fields of records, in order, each with its default."""
REQUIRED: Any = object()
"""Stands in place of a default: the field must be there."""

_SCHEMA = ".schema"


class NewerSnapshotError(ValueError):
    """A newer version wrote the snapshot. The message says what is unknown, and asks to upgrade."""


class _Layout(msgspec.Struct):
    """The part of `.schema` that every layout has."""

    layout: int


class _Written(msgspec.Struct):
    """The column `.schema`."""

    layout: int
    fields: dict[str, list[str]]
    optional: list[str] = []


def required(*names: str) -> dict[str, Any]:
    """Declare fields that every snapshot has."""
    return dict.fromkeys(names, REQUIRED)


class SnapshotSchema:
    """The columns of one kind of shard, as this version writes and reads them.

    `columns` names every column, `#` standing for a number in a name. `records` declares the fields
    of each record, `layout_3` the fields that it had then. `optional` names columns, and fields as
    `record.field`, that older versions may skip.
    """

    def __init__(
        self,
        columns: Iterable[str],
        records: Records,
        layout_3: Mapping[str, Sequence[str]],
        *,
        optional: Sequence[str] = (),
    ) -> None:
        self.columns = frozenset(columns)
        self.records = records
        self.layout_3 = layout_3
        fields = {name: list(record) for name, record in records.items()}
        written = _Written(STATE_LAYOUT, fields, list(optional))
        self._encoded = np.frombuffer(msgspec.json.encode(written), np.uint8)

    def pieces(self) -> tuple[bytes, AnyColumn]:
        """Return the column `.schema`, encoded: the beginning of a snapshot."""
        return column_header(_SCHEMA, self._encoded.dtype, len(self._encoded)), self._encoded

    def is_of(self, stored: "StoredState") -> bool:
        """Return whether a snapshot has just the form that this version writes."""
        return stored.layout == STATE_LAYOUT and {
            name: tuple(record) for name, record in self.records.items()
        } == dict(stored.fields)


class Picks(NamedTuple):
    """The way from a record as it was written to the record of today.

    For each field of today: its place among those written, -1 where there is none, and its default.
    """

    places: tuple[int, ...] | None
    """None where the fields were written as they are today."""
    defaults: tuple[Any, ...]
    written_count: int

    def row(self, values: Sequence[Any]) -> Sequence[Any]:
        """Return the values of one row in today's order. Values that a row lacks at its end take
        their defaults.
        """
        if self.places is None:
            missing = len(values) - len(self.defaults)
            return values if not missing else [*values, *self.defaults[missing:]]
        pairs = zip(self.places, self.defaults, strict=True)
        return [values[place] if 0 <= place < len(values) else default for place, default in pairs]

    def matrix(self, written: AnyColumn) -> AnyColumn:
        """Return columns, one per field, in today's order. Cost: none if they were written in that
        order.
        """
        if self.places is None:
            return written
        columns: AnyColumn = np.empty((len(self.places), written.shape[1]), written.dtype)
        for column, place, default in zip(columns, self.places, self.defaults, strict=True):
            column[:] = default if place < 0 else written[place]
        return columns


class StoredState(NamedTuple):
    """A snapshot that was read: its columns, and its records' fields as they were written."""

    columns: State
    layout: int
    fields: Mapping[str, tuple[str, ...]]
    picks: Mapping[str, Picks]

    def column(self, name: str) -> AnyColumn:
        """Return a column that every snapshot has. Raises: ColumnError."""
        if name not in self.columns:
            raise ColumnError(f"snapshot: expected a column {name}, found none")
        return self.columns[name]

    def rows(self, record: str, rows: Iterable[Sequence[Any]]) -> list[Sequence[Any]]:
        """Return the rows of a record in today's order of fields."""
        return list(map(self.picks[record].row, rows))

    def integers(self, record: str) -> list[Sequence[int]]:
        """Return the rows of a record that is a column of integers; no row if the column is
        missing.
        """
        column = self.columns.get(record)
        if column is None:
            return []
        return self.rows(record, column.reshape(-1, self.picks[record].written_count).tolist())


def decode_snapshot(data: bytes | memoryview, schema: SnapshotSchema) -> StoredState:
    """Decode a snapshot of one kind of shard. Raises: NewerSnapshotError; ColumnError when the
    bytes are no snapshot.
    """
    columns = decode_state(data)
    encoded = columns.pop(_SCHEMA, None)
    written = _Written(LAYOUT_MIN, {name: list(each) for name, each in schema.layout_3.items()})
    if encoded is not None:
        written = _read_schema(encoded.tobytes())
    optional = set(written.optional)
    for name in columns:
        if _family(name) not in schema.columns and _family(name) not in optional:
            raise _newer(f"column {name}")
    picks = {}
    for name, fields in written.fields.items():
        record = schema.records.get(name)
        unknown = {f"{name}.{field}" for field in fields if record is None or field not in record}
        if not unknown <= optional:
            raise _newer(f"field {min(unknown - optional)}")
        if record is not None:
            picks[name] = _picks(name, fields, record)
    fields_of = {name: tuple(fields) for name, fields in written.fields.items()}
    return StoredState(columns, written.layout, fields_of, picks)


def _read_schema(data: bytes) -> _Written:
    try:
        layout = msgspec.json.decode(data, type=_Layout).layout
        if layout > STATE_LAYOUT:
            raise NewerSnapshotError(newer_layout(layout))
        return msgspec.json.decode(data, type=_Written)
    except msgspec.DecodeError as error:
        raise ColumnError(f"snapshot: expected a schema, found {data[:40]!r}: {error}") from None


def newer_layout(layout: int) -> str:
    """Return the message about a layout that is not known."""
    return (
        f"snapshot: expected layout {STATE_LAYOUT} or below, found {layout}; a newer version wrote "
        "it, upgrade first"
    )


def _newer(what: str) -> NewerSnapshotError:
    return NewerSnapshotError(
        f"snapshot: {what} is unknown; a newer version wrote it, upgrade first"
    )


def _family(name: str) -> str:
    """Return a column's name with `#` for each number in it."""
    return ".".join("#" if part.isdigit() else part for part in name.split("."))


def _picks(name: str, written: Sequence[str], record: Mapping[str, Any]) -> Picks:
    """Find today's fields among those written. Raises: ColumnError."""
    for field, default in record.items():
        if default is REQUIRED and field not in written:
            raise ColumnError(f"snapshot: expected a field {name}.{field}, found none")
    defaults = tuple(record.values())
    if tuple(written) == tuple(record):
        return Picks(None, defaults, len(written))
    place_of = {field: place for place, field in enumerate(written)}
    places = tuple(place_of.get(field, -1) for field in record)
    return Picks(places, defaults, len(written))


def integers_column(rows: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Make a column of the rows of a record."""
    return np.array(rows, np.int64).reshape(-1)
