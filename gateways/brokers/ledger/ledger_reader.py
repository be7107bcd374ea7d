"""Reading a ledger for an audit, as columns in batches, also while the broker runs.

The reader takes no lock and changes nothing. It stops at a torn last frame. Damage in front of good
frames raises LedgerError.
"""

import os
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from engine.columns.section_codec import decode_section
from engine.columns.section_types import Column, SectionError
from engine.messages.blocks import CorrectionsReported, ExecutionsReported, decode_block
from gateways.brokers.ledger.ledger import FILE_NAME, check_torn, walk_frames
from gateways.brokers.ledger.records import (
    MESSAGE_TAG,
    AccountsFiled,
    LedgerError,
    LedgerOpened,
    OrdersTaken,
    PublishConfirmed,
    record_type,
    walk_records,
)


class Accounts(NamedTuple):
    """Accounts of a follower shard. `ids` are numbered from `first`."""

    follower_shard: int
    first: int
    ids: list[str]


class LedgerOrders(NamedTuple):
    """Orders taken. Shapes: one row per order; `symbols` is indexed by `symbol_of`. Units: see
    `engine.values.units`.
    """

    follower_shards: Column
    cause_kinds: Column
    creator_shards: Column
    cause_numbers: Column
    legs: Column
    attempts: Column
    subscriptions: Column
    accounts: Column
    sides: Column
    quantities: Column
    prices: Column
    limit_prices: Column
    expire_times: Column
    frames: Column
    event_times: Column
    symbol_of: Column
    symbols: list[str]
    taken_times: Column
    """The time at which the broker took each, by its machine's clock, ns; before the ledger's sync
    and the answer.
    """


class LedgerExecutions(NamedTuple):
    """Executions reported. Shapes: one row per execution; its id is `prefixes[prefix_of]` and the
    decimal `numbers`.
    """

    follower_shards: Column
    cause_kinds: Column
    creator_shards: Column
    cause_numbers: Column
    legs: Column
    attempts: Column
    subscriptions: Column
    numbers: Column
    exec_types: Column
    quantities: Column
    prices: Column
    fees: Column
    transact_times: Column
    prefix_of: Column
    prefixes: list[str]


class LedgerReader:
    """One ledger directory. Each method reads it from the beginning."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE_NAME

    def broker(self) -> tuple[str, str]:
        """Return the broker and the ledger id. Raises: LedgerError."""
        for section in self._sections(frozenset({LedgerOpened.TAG})):
            return section.broker, section.ledger_id
        raise LedgerError(f"{self._path}: expected a paper broker's ledger, found no whole frame")

    def accounts(self) -> Iterator[Accounts]:
        """Yield the accounts registered."""
        for section in self._sections(frozenset({AccountsFiled.TAG})):
            yield Accounts(section.follower_shard, section.first, section.ids)

    def orders(self, rows_min: int = 1 << 20) -> Iterator[LedgerOrders]:
        """Yield the orders in the order they were taken, in batches of at least `rows_min` rows;
        the last may be smaller.
        """
        for group in _grouped(self._sections(frozenset({OrdersTaken.TAG})), rows_min):
            yield _orders(group)

    def executions(self, rows_min: int = 1 << 20) -> Iterator[LedgerExecutions]:
        """Yield the executions in the order they were made, in batches of at least `rows_min`
        rows; the last may be smaller.
        """
        sections = self._sections(frozenset({MESSAGE_TAG}))
        reported = (section for section in sections if isinstance(section, ExecutionsReported))
        for group in _grouped(reported, rows_min):
            yield _executions(group)

    def corrections(self) -> Iterator[CorrectionsReported]:
        """Yield the trade cancels and corrections, in the order they were made."""
        for section in self._sections(frozenset({MESSAGE_TAG})):
            if isinstance(section, CorrectionsReported):
                yield section

    def confirmed(self) -> dict[int, int]:
        """Return the number up to which JetStream is known to hold each follower shard's
        executions.
        """
        last: dict[int, int] = {}
        for section in self._sections(frozenset({PublishConfirmed.TAG})):
            last.update(
                zip(section.follower_shards.tolist(), section.numbers.tolist(), strict=True)
            )
        return last

    def _sections(self, wanted: frozenset[int]) -> Iterator[Any]:
        try:
            source = LedgerFile(self._path)
        except OSError as error:
            raise LedgerError(
                f"{self._path}: expected a paper broker's ledger, found {error.strerror}"
            ) from error
        try:
            end = 0
            for frame in walk_frames(source):
                end = frame.end
                for record in walk_records(frame.offset, frame.payload):
                    if record.tag not in wanted:
                        continue
                    if record.tag == MESSAGE_TAG:
                        yield from decode_block(record.body)
                    else:
                        yield decode_section(record_type(record.tag), record.body)
            if end < source.size():
                check_torn(source, end)
        except SectionError as error:
            raise LedgerError(f"{self._path}: {error}") from error
        finally:
            source.close()


class LedgerFile:
    """A ledger's file at the length that it had when opened. The next reading sees what is appended
    meanwhile.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._size = os.fstat(self._file).st_size

    def read(self, offset: int, length: int) -> bytes:
        """Read bytes at any offset."""
        return os.pread(self._file, max(0, min(length, self._size - offset)), offset)

    def size(self) -> int:
        """Return the length in bytes."""
        return self._size

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def _grouped(sections: Iterator[Any], rows_min: int) -> Iterator[list[Any]]:
    group: list[Any] = []
    rows = 0
    for section in sections:
        group.append(section)
        rows += len(section.subscriptions)
        if rows >= rows_min:
            yield group
            group, rows = [], 0
    if group:
        yield group


def _per_row(group: list[Any], field: str, counts: Column) -> Column:
    """Repeat a field that stands once in each section, for each of its rows."""
    return np.repeat(np.array(list(map(attrgetter(field), group)), np.int64), counts)


def _joined(group: list[Any], field: str) -> Column:
    return np.concatenate([getattr(section, field) for section in group])


def _numbered(texts: list[str], counts: Column) -> tuple[Column, list[str]]:
    index: dict[str, int] = {}
    numbers = np.array([index.setdefault(text, len(index)) for text in texts], np.int64)
    return np.repeat(numbers, counts), list(index)


def _coordinates(
    group: list[Any], counts: Column
) -> tuple[Column, Column, Column, Column, Column, Column]:
    """Return the parts of the order ids that stand once in each section, row by row."""
    return (
        _per_row(group, "follower_shard", counts),
        _per_row(group, "key.cause_kind", counts),
        _per_row(group, "key.creator_shard", counts),
        _per_row(group, "key.cause_number", counts),
        _per_row(group, "key.leg", counts),
        _per_row(group, "key.attempt", counts),
    )


def _orders(group: list[OrdersTaken]) -> LedgerOrders:
    counts = np.array([len(section.subscriptions) for section in group], np.int64)
    symbol_of, symbols = _numbered([section.symbol for section in group], counts)
    return LedgerOrders(
        *_coordinates(group, counts),
        subscriptions=_joined(group, "subscriptions"),
        accounts=_joined(group, "accounts"),
        sides=_per_row(group, "side", counts),
        quantities=_joined(group, "quantities"),
        prices=_per_row(group, "price", counts),
        limit_prices=_per_row(group, "limit_price", counts),
        expire_times=_per_row(group, "expire_time", counts),
        frames=_per_row(group, "frame", counts),
        event_times=_per_row(group, "event_time", counts),
        symbol_of=symbol_of,
        symbols=symbols,
        taken_times=_per_row(group, "taken_time", counts),
    )


def _executions(group: list[ExecutionsReported]) -> LedgerExecutions:
    counts = np.array([len(section.subscriptions) for section in group], np.int64)
    prefix_of, prefixes = _numbered([section.prefix for section in group], counts)
    return LedgerExecutions(
        *_coordinates(group, counts),
        subscriptions=_joined(group, "subscriptions"),
        numbers=_joined(group, "numbers"),
        exec_types=_joined(group, "exec_types"),
        quantities=_joined(group, "quantities"),
        prices=_joined(group, "prices"),
        fees=_joined(group, "fees"),
        transact_times=_per_row(group, "transact_time", counts),
        prefix_of=prefix_of,
        prefixes=prefixes,
    )
