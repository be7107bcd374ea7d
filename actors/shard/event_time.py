"""A shard's event time: the clock's, except that it never goes back.

The clock may be behind the last frame: it was set back, or the last owner's clock ran ahead. Event
time then goes on at half the clock's speed until the clock has caught up. If it stood still
instead, exits would wait for their next attempt for as long as the clock had been ahead. At half
speed they wait at most twice their backoff.
"""

from actors.journal.writer import JournalWriter
from actors.ports import Clock


class EventTime:
    """Event time as a function of the clock and of the last frame. Units: ns."""

    def __init__(self) -> None:
        self._ahead: tuple[int, int] | None = None

    def at(self, now_ns: int, last_ns: int) -> int:
        """Return the time of the next frame; `last_ns` is the last frame's."""
        if now_ns >= last_ns:
            self._ahead = None
            return now_ns
        if self._ahead is None or self._ahead[1] > now_ns:
            # The slow stretch begins anew when the clock is set back once more.
            self._ahead = last_ns, now_ns
        since_ns, clock_ns = self._ahead
        return max(last_ns, since_ns + (now_ns - clock_ns) // 2)


class FrameTime:
    """The time that one shard's next frame is stamped with. Units: ns."""

    def __init__(self, clock: Clock, writer: JournalWriter, *, uses_event_clock: bool) -> None:
        self._clock = clock
        self._writer = writer
        self._uses_event_clock = uses_event_clock
        self._event_time = EventTime()

    def fence_ns(self) -> int:
        """Return the earliest time of a fence: the clock's, or 0 in a replay."""
        return 0 if self._uses_event_clock else self._clock.now_ns()

    def next_ns(self, inputs_ns: int = 0) -> int:
        """Return the time of the next frame. `inputs_ns` is the latest time that an input states,
        which a replay takes instead of the clock's.
        """
        last_ns = self._writer.event_time_ns
        if self._uses_event_clock:
            return max(last_ns, inputs_ns)
        return self._event_time.at(self._clock.now_ns(), last_ns)


class TurnTime:
    """The time that one turn decides and commits with: it advances with the turn's inputs."""

    def __init__(self, frame_time: FrameTime) -> None:
        self._frame_time = frame_time
        self.ns = 0

    def begin(self) -> None:
        """Begin a turn."""
        self.ns = self._frame_time.next_ns()

    def advance(self, input_ns: int) -> None:
        """Take the time that an input states."""
        self.ns = max(self.ns, self._frame_time.next_ns(input_ns))

    def now_ns(self) -> int:
        """Return the turn's time."""
        return self.ns
