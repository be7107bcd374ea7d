"""How large a frame is growing: told from its events before they are encoded, so that it is cut in time.

A frame beyond what the server takes as one message would be refused for ever, and its inputs read again for ever.
"""

from collections.abc import Iterable
from dataclasses import fields
from functools import cache
from typing import Any, cast

import numpy as np

COLUMN_BYTES = 16
VALUE_BYTES = 4
"""Most columns are narrower, few are wider."""


@cache
def _names(event_type: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(event_type))


def event_bytes(event: Any) -> int:
    """Estimate the bytes of an event in a frame, within a factor of two."""
    size = 8
    for name in _names(cast(type, type(event))):
        value = getattr(event, name)
        if isinstance(value, np.ndarray):
            size += COLUMN_BYTES + VALUE_BYTES * len(value)
        elif isinstance(value, list):
            size += COLUMN_BYTES + sum(map(len, value)) + len(value)
        else:
            size += 8 + (len(value) if isinstance(value, str) else 0)
    return size


class FrameSize:
    """The estimated bytes of what is added to a list of events, and whether that is enough."""

    def __init__(self, events: list[Any], bytes_max: int) -> None:
        self._events = events
        self._counted = len(events)
        self._bytes = 0
        self._bytes_max = bytes_max

    @property
    def is_full(self) -> bool:
        """Whether no more should be added. Cost: of the new events only."""
        new: Iterable[Any] = self._events[self._counted :]
        self._bytes += sum(map(event_bytes, new))
        self._counted = len(self._events)
        return self._bytes >= self._bytes_max
