"""An index of ids: it numbers ids in order of arrival, and finds the number of an id. Cost: about
12 bytes per id beside its text.

New ids are kept in a dict. When it is full, they are merged into sorted columns of hashes. The
hashes are no part of the state: after a restart they are computed again from the texts. Ids with
equal hashes are told apart by their texts.
"""

import numpy as np
from numpy.typing import NDArray

from engine.columns.state import AnyColumn, State
from engine.columns.table import Table, names_with
from engine.values.ids import fnv1a_each

_RECENT_MAX = 1 << 14
_HASHED_AT_ONCE = 1 << 16
_FNV_BASIS, _FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3
_BITS_64 = (1 << 64) - 1


def hash_id(data: bytes) -> int:
    """Hash an id's bytes: 64-bit FNV-1a, folded to 32 bits."""
    value = _FNV_BASIS
    for byte in data:
        value = ((value ^ byte) * _FNV_PRIME) & _BITS_64
    return (value >> 32) ^ (value & 0xFFFFFFFF)


def hash_ids(
    text: AnyColumn, starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.uint32]:
    """Hash the ids at some places of a text, as `hash_id` does. Cost: about 0.1 us per id."""
    values = fnv1a_each(text, starts, ends, np.uint64(_FNV_BASIS), np.uint64(_FNV_PRIME))
    return ((values >> np.uint64(32)) ^ values).astype(np.uint32)


def id_columns(prefix: str) -> list[str]:
    """Return the names that an index's columns have in a state."""
    return names_with(prefix, ("text", "end"))


class IdIndex:
    """Numbers ids 0, 1, 2, ... in order of arrival."""

    def __init__(self) -> None:
        self._text = Table({"text": np.uint8})
        self._ends = Table({"end": np.uint32})
        self._hashes: NDArray[np.uint32] = np.zeros(0, np.uint32)
        self._numbers: NDArray[np.uint32] = np.zeros(0, np.uint32)
        self._recent: dict[str, int] = {}

    def __len__(self) -> int:
        return self._ends.count

    def add(self, ids: list[str]) -> int:
        """Number new ids. Returns: the first number. The caller knows that none of them has a
        number.
        """
        first = len(self)
        encoded = [text.encode() for text in ids]
        ends = np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded))) + self._text.count
        assert not len(ends) or int(ends[-1]) < 1 << 32, "a shard holds 4 GiB of ids"
        self._text.append({"text": np.frombuffer(b"".join(encoded), np.uint8)})
        self._ends.append({"end": ends})
        self._recent.update(zip(ids, range(first, first + len(ids)), strict=True))
        if len(self._recent) > _RECENT_MAX:
            self._merge()
        return first

    def _merge(self) -> None:
        """Move the recent ids into the sorted columns."""
        hashes, numbers = self._hashed(len(self._hashes), len(self))
        places = np.searchsorted(self._hashes, hashes, side="right")
        self._hashes = np.insert(self._hashes, places, hashes)
        self._numbers = np.insert(self._numbers, places, numbers)
        self._recent = {}

    def _hashed(self, first: int, last: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        """Hash the ids numbered from `first` up to, not including, `last`. Returns: hashes,
        ascending, and their numbers.
        """
        ends = np.zeros(last - first + 1, np.int64)
        ends[1:] = self._ends["end"][first:last]
        ends[0] = self._ends["end"][first - 1] if first else 0
        text = self._text["text"]
        hashes = np.empty(last - first, np.uint32)
        for at in range(0, len(hashes), _HASHED_AT_ONCE):
            some = slice(at, min(at + _HASHED_AT_ONCE, len(hashes)))
            hashes[some] = hash_ids(text, ends[:-1][some], ends[1:][some])
        order = np.argsort(hashes, kind="stable")
        return hashes[order], (order + first).astype(np.uint32)

    def text(self, number: int) -> str:
        """Return the id of a number."""
        return self.texts(number, number + 1)[0]

    def texts(self, first: int, last: int) -> list[str]:
        """Return the ids numbered from `first` up to, not including, `last`."""
        ends = self._ends["end"][first:last].tolist()
        if not ends:
            return []
        start = base = int(self._ends["end"][first - 1]) if first else 0
        data = self._text["text"][base : ends[-1]].tobytes()
        texts = []
        for end in ends:
            texts.append(data[start - base : end - base].decode())
            start = end
        return texts

    def find(self, text: str) -> int | None:
        """Find an id's number."""
        number = self._recent.get(text)
        if number is not None or not len(self._hashes):
            return number
        wanted = np.uint32(hash_id(text.encode()))
        position = int(self._hashes.searchsorted(wanted))
        while position < len(self._hashes) and self._hashes[position] == wanted:
            number = int(self._numbers[position])
            if self.text(number) == text:
                return number
            position += 1
        return None

    def state(self, prefix: str) -> State:
        """Return the ids as part of a state."""
        return {f"{prefix}.text": self._text["text"], **self._ends.state(prefix)}

    def restore(self, prefix: str, state: State) -> None:
        """Take ids back from a snapshot's columns and index them."""
        self._text.restore(prefix, state)
        self._ends.restore(prefix, state)
        self._hashes, self._numbers = self._hashed(0, len(self))
        self._recent = {}
