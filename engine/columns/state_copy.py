"""State copies: a shard's state at one frame, encoded as a snapshot piece by piece while the shard
goes on (P6).

Columns that only grow at their end are taken as views, because these do not change. Everything
small is copied at once. Books are copied one by one, in order. A book that is about to change
before its turn is copied first (`keep`). So nothing waits until the whole state is copied.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.columns.snapshot import SnapshotSchema
from engine.columns.state import AnyColumn, State, column_header, state_digest


class Part(Protocol):
    """A part of a state that changes by itself, such as a book."""

    @property
    def index(self) -> int: ...

    @property
    def words(self) -> int: ...

    def pieces(self) -> Iterator[NDArray[np.int64]]: ...


BOOKS_IN_A_COLUMN = 64
PREFIX = "book."


class StateCopy:
    """One state at one moment. `columns` must not change any more; `books` may, after `keep`."""

    def __init__(
        self,
        schema: SnapshotSchema,
        columns: State,
        books: Sequence[Part] = (),
        ended: Callable[["StateCopy"], None] = lambda copy: None,
    ) -> None:
        self.columns = columns
        self._schema = schema
        self._books = list(books)
        self._ended = ended
        self._kept: dict[int, list[NDArray[np.int64]]] = {}
        self._current = -1
        self._rest: Iterator[NDArray[np.int64]] = iter(())

    def keep(self, book: Part) -> None:
        """Copy what is not copied yet of a book that is about to change."""
        index = book.index
        if index > self._current:
            if index < len(self._books) and index not in self._kept:
                self._kept[index] = list(book.pieces())
        elif index == self._current:
            self._rest = iter(list(self._rest))

    def pieces(self) -> Iterator[bytes | AnyColumn]:
        """Encode the snapshot; to be called once. No piece is copied before it is asked for, and
        none is held here afterwards.
        """
        groups = {
            f"{PREFIX}{first:010d}": range(first, min(first + BOOKS_IN_A_COLUMN, len(self._books)))
            for first in range(0, len(self._books), BOOKS_IN_A_COLUMN)
        }
        yield from self._schema.pieces()
        for name in sorted([*self.columns, *groups]):
            if name in groups:
                yield from self._group(name, groups[name])
            else:
                column = np.ascontiguousarray(self.columns[name])
                yield column_header(name, column.dtype, len(column))
                yield column
        self.close()

    def close(self) -> None:
        """End the copy: changes of the state are not watched any more, and the rest is not
        copied.
        """
        self._ended(self)

    def _group(self, name: str, indices: range) -> Iterator[bytes | AnyColumn]:
        # A book that changes from here on is kept first, so the count of pieces stays right.
        yield column_header(name, np.dtype(np.int64), sum(map(self._words, indices)))
        for index in indices:
            self._current = index
            kept = self._kept.pop(index, None)
            self._rest = self._books[index].pieces() if kept is None else iter(kept)
            # Pieces are asked for one by one, because `keep` may replace those that are not copied
            # yet.
            while (piece := next(self._rest, None)) is not None:
                yield piece

    def _words(self, index: int) -> int:
        kept = self._kept.get(index)
        return self._books[index].words if kept is None else sum(map(len, kept))


def whole_copy(schema: SnapshotSchema, state: State) -> StateCopy:
    """Copy a small state at once, also the columns that are views of live ones."""
    columns = {
        name: column if column.flags.owndata else column.copy() for name, column in state.items()
    }
    return StateCopy(schema, columns)


def encode_copy(copy: StateCopy) -> bytes:
    """Encode a copy whole: a snapshot."""
    return b"".join(bytes(piece) for piece in copy.pieces())


def copy_digest(copy: StateCopy) -> bytes:
    """Hash a copy's encoding: the digest that is stored beside a snapshot."""
    digest = state_digest()
    for piece in copy.pieces():
        digest.update(piece if isinstance(piece, bytes) else np.ascontiguousarray(piece).data)
    return digest.digest()
