"""The wall clock that shards read: the machine's clock, without its jumps.

A steady clock, which no correction moves, counts the time since an anchor on the wall clock. Ten
times per second the two clocks are compared:

- Up to `JUMP_NS_MAX` apart: the wall clock is right and becomes the new anchor. So corrections and
  drift are followed at once.
- Further apart: the wall clock has jumped, which raises an alarm. The jump is believed once it has
  lasted for `BELIEVED_AFTER_NS`. A jump that reverts before that is never seen.

A jump that reverts after it was believed has bounded effects (`actors.shard.event_time`). A process
that starts has no anchor yet and believes the wall clock.
"""

import time
from collections.abc import Callable

import structlog

_log = structlog.get_logger()

NS_PER_S = 10**9
CHECKED_EVERY_NS = NS_PER_S // 10
JUMP_NS_MAX = NS_PER_S
"""This is well below the 5 s that a fill may be dated ahead, and the 60 s of the entry window."""
BELIEVED_AFTER_NS = 60 * NS_PER_S


def steady_ns() -> int:
    """Return the time since the machine started. Its sleep is included where the system counts
    it. Units: ns.
    """
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class WallClock:
    """The `Clock` port. Cost: 0.2 us per call."""

    def __init__(
        self, wall_ns: Callable[[], int] = time.time_ns, steady_ns: Callable[[], int] = steady_ns
    ) -> None:
        self._wall_ns = wall_ns
        self._steady_ns = steady_ns
        self._checked_ns = steady_ns()
        self._offset_ns = wall_ns() - self._checked_ns
        self._jump_ns = 0
        self._jumped_ns = 0

    def now_ns(self) -> int:
        """Return the time since the epoch. Units: ns."""
        steady = self._steady_ns()
        if steady - self._checked_ns >= CHECKED_EVERY_NS:
            self._checked_ns = steady
            self._compare(steady)
        return steady + self._offset_ns

    def _compare(self, steady: int) -> None:
        offset = self._wall_ns() - steady
        apart = offset - self._offset_ns
        if abs(apart) <= JUMP_NS_MAX:
            if self._jump_ns:
                _log.warning("clock_jump_over", jump_s=self._jump_ns / NS_PER_S)
            self._offset_ns, self._jump_ns = offset, 0
        elif abs(apart - self._jump_ns) > JUMP_NS_MAX or not self._jump_ns:
            self._jump_ns, self._jumped_ns = apart, steady
            _log.error("clock_jumped", jump_s=apart / NS_PER_S, alarm=True)
        elif steady - self._jumped_ns >= BELIEVED_AFTER_NS:
            _log.error("clock_jump_believed", jump_s=apart / NS_PER_S, alarm=True)
            self._offset_ns, self._jump_ns = offset, 0
