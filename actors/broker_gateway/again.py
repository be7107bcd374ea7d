"""Sections that go to the broker again, each in a block of its own."""

import asyncio
from collections import deque

from engine.broker_gateway.outbound import OutboundSection


class SectionsAgain:
    """Sections that wait to be sent again, some of them for a time."""

    def __init__(self) -> None:
        self._ready: deque[OutboundSection] = deque()
        self._paused: list[tuple[float, OutboundSection]] = []

    def __len__(self) -> int:
        return len(self._ready) + len(self._paused)

    def add(self, section: OutboundSection, *, pause_s: float = 0.0) -> None:
        """Add a section. It may go after a pause."""
        if pause_s:
            self._paused.append((asyncio.get_running_loop().time() + pause_s, section))
        else:
            self._ready.append(section)

    def take(self) -> OutboundSection | None:
        """Take the next section that may go, None when there is none."""
        if self._paused:
            now_s = asyncio.get_running_loop().time()
            self._ready += [section for due_s, section in self._paused if due_s <= now_s]
            self._paused = [each for each in self._paused if each[0] > now_s]
        return self._ready.popleft() if self._ready else None
