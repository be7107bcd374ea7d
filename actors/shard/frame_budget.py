"""The budget of a frame's bytes, estimated from its events before they are encoded.

The server would refuse a frame that is larger than one message, and every later owner would read
the same inputs into the same frame.
"""

from collections.abc import Callable
from functools import cache
from operator import attrgetter
from typing import Any, NamedTuple

from engine.columns.section_types import Section, Texts, flat_fields

COLUMN_BYTES = 16
VALUE_BYTES = 4
"""Most columns are narrower, and few are wider."""


class _Fields(NamedTuple):
    """The least bytes of a type of event, and the getters of its columns and lists of texts."""

    bytes_min: int
    columns: Callable[[Any], tuple[Any, ...]]
    texts: Callable[[Any], tuple[list[str], ...]]


@cache
def _fields(event_type: type[Section]) -> _Fields:
    fields = flat_fields(event_type)
    texts = [name for name, hint in fields if hint == Texts]
    columns = [name for name, hint in fields if hint not in (int, str, Texts)]
    size = 8 + 8 * len(fields) + COLUMN_BYTES * (len(columns) + len(texts))
    return _Fields(size, _getter(columns), _getter(texts))


def _getter(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) > 1:
        return attrgetter(*names)
    return lambda event: tuple(getattr(event, name) for name in names)


def event_bytes(event: Section) -> int:
    """Estimate the bytes of an event in a frame, within a factor of two."""
    size, columns, texts = _fields(type(event))
    size += VALUE_BYTES * sum(map(len, columns(event)))
    for each in texts(event):
        size += sum(map(len, each)) + len(each)
    return size


class FrameBudget:
    """The estimated bytes of the events added to a list, or of all its events, against a limit."""

    def __init__(self, events: list[Any], bytes_max: int, *, of_all: bool = False) -> None:
        self._events = events
        self._counted = 0 if of_all else len(events)
        self._bytes = 0
        self._bytes_max = bytes_max

    def begin(self) -> None:
        """Count anew, after the events were sent."""
        self._counted, self._bytes = 0, 0

    @property
    def is_full(self) -> bool:
        """True once no more events should be added. Cost: of the new events only."""
        for event in self._events[self._counted :]:
            self._bytes += event_bytes(event)
        self._counted = len(self._events)
        return self._bytes >= self._bytes_max
