"""A shard's event time: the clock's, but it never goes back.

Where the clock is behind the last frame (it was set back, or the shard's last owner ran ahead),
event time goes on at half the clock's speed until the clock has caught up. Were it to stand still,
exits would wait for their next attempt for as long as the clock had been ahead; so they wait twice
their backoff at most.
"""


class EventTime:
    """Units: ns."""

    def __init__(self) -> None:
        self._ahead: tuple[int, int] | None = None

    def at(self, now_ns: int, last_ns: int) -> int:
        """Tell the time of the next frame, `last_ns` being the last one's."""
        if now_ns >= last_ns:
            self._ahead = None
            return now_ns
        if self._ahead is None or self._ahead[1] > now_ns:
            # It begins anew where the clock was set back once more.
            self._ahead = last_ns, now_ns
        since_ns, clock_ns = self._ahead
        return max(last_ns, since_ns + (now_ns - clock_ns) // 2)
