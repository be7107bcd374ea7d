"""Timer slack: the delay with which Linux may wake a thread. Children inherit it. systemd calls it
TimerSlackNSec.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_PR_SET_TIMERSLACK = 29
_DEFAULT = 0
"""The slack that this process was started with."""


@contextmanager
def inherited_timer_slack(slack_ns: int | None) -> Iterator[None]:
    """Give this slack to processes started in a `with` block, which must not contain an `await`.
    None changes nothing, nor does a system other than Linux.
    """
    if slack_ns is None or sys.platform != "linux":
        yield
        return
    # The slack belongs to this thread, which waits for nothing in between.
    control = ctypes.CDLL(None).prctl
    control(_PR_SET_TIMERSLACK, ctypes.c_ulong(slack_ns))
    try:
        yield
    finally:
        control(_PR_SET_TIMERSLACK, ctypes.c_ulong(_DEFAULT))
