"""How large a frame is growing: told from its events before they are encoded, so that it is copy in
time.

A frame beyond what the server takes as one message would be refused for ever, and its inputs read
again for ever.
"""

from collections.abc import Callable
from functools import cache
from operator import attrgetter
from typing import Any, NamedTuple, get_type_hints

from engine.columns.sections import Section, Texts, names_of

COLUMN_BYTES = 16
VALUE_BYTES = 4
"""Most columns are narrower, few are wider."""


class _Fields(NamedTuple):
    """What a type of event costs at least, and how to name its columns and its lists of texts."""

    bytes_min: int
    columns: Callable[[Any], tuple[Any, ...]]
    texts: Callable[[Any], tuple[list[str], ...]]


@cache
def _fields(event_type: type[Section]) -> _Fields:
    hints = get_type_hints(event_type)
    names = names_of(event_type)
    texts = [name for name in names if hints[name] == Texts]
    columns = [name for name in names if hints[name] not in (int, str, Texts)]
    size = 8 + 8 * len(names) + COLUMN_BYTES * (len(columns) + len(texts))
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
    """The estimated bytes of what is added to a list of events, or of all of it, and whether that
    is enough.
    """

    def __init__(self, events: list[Any], bytes_max: int, *, of_all: bool = False) -> None:
        self._events = events
        self._counted = 0 if of_all else len(events)
        self._bytes = 0
        self._bytes_max = bytes_max

    def begin(self) -> None:
        """Count anew: the events were sent."""
        self._counted, self._bytes = 0, 0

    @property
    def is_full(self) -> bool:
        """Whether no more should be added. Cost: of the new events only."""
        for event in self._events[self._counted :]:
            self._bytes += event_bytes(event)
        self._counted = len(self._events)
        return self._bytes >= self._bytes_max
