"""Timer slack: how much later than asked Linux may wake a thread. Children inherit it; systemd
calls it TimerSlackNSec.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_PR_SET_TIMERSLACK = 29
_DEFAULT = 0
"""What this process was started with itself."""


@contextmanager
def inherited_timer_slack(slack_ns: int | None) -> Iterator[None]:
    """Give the processes started meanwhile this slack; None, or another system than Linux, leaves
    it as it is. Not across an `await`.
    """
    if slack_ns is None or sys.platform != "linux":
        yield
        return
    # It is this thread's own, and nothing that it waits for lies in between.
    control = ctypes.CDLL(None).prctl
    control(_PR_SET_TIMERSLACK, ctypes.c_ulong(slack_ns))
    try:
        yield
    finally:
        control(_PR_SET_TIMERSLACK, ctypes.c_ulong(_DEFAULT))
