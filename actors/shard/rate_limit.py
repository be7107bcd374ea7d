"""A broker's rate limit: a bucket of one second's orders that refills steadily. Whole orders, whole
nanoseconds.
"""

NS_PER_S = 1_000_000_000


class OrderRate:
    """Says how many orders may go now; `per_s` 0 sets no limit."""

    def __init__(self, per_s: int) -> None:
        self._per_s = per_s
        self._tokens_ns = per_s * NS_PER_S
        self._seen_ns: int | None = None

    def allowed(self, now_ns: int) -> int | None:
        """Say how many orders may go now; None when there is no limit."""
        if not self._per_s:
            return None
        if self._seen_ns is not None:
            # A clock that steps back gives nothing.
            self._tokens_ns += max(now_ns - self._seen_ns, 0) * self._per_s
        self._seen_ns = now_ns
        self._tokens_ns = min(self._tokens_ns, self._per_s * NS_PER_S)
        return max(self._tokens_ns, 0) // NS_PER_S

    def take(self, orders: int) -> None:
        """Note that orders went."""
        self._tokens_ns -= orders * NS_PER_S

    def owe(self, orders: int, now_ns: int) -> int:
        """Note that orders go again, in their turn behind those that went. Returns: how long they
        must wait, ns.
        """
        if self.allowed(now_ns) is None or not orders:
            return 0
        self.take(orders)
        return max(-self._tokens_ns, 0) // self._per_s
