"""A rate limit: a bucket of tokens that refills steadily. Whole tokens, whole nanoseconds.

limit       tokens per second          burst
orders      the broker's own limit     one second's orders
progress    `PROGRESS_PER_S`           `PROGRESS_AT_ONCE`
"""

from engine.values.units import NS_PER_S


class RateLimit:
    """Lets through `per_s` tokens per second, and `burst` at once after a pause. `per_s` 0 sets no
    limit.
    """

    def __init__(self, per_s: int, burst: int) -> None:
        self._per_s = per_s
        self._full_ns = burst * NS_PER_S
        self._tokens_ns = self._full_ns
        """Tokens in the bucket, times NS_PER_S; below zero while some wait for their turn."""
        self._seen_ns: int | None = None

    def allowed(self, now_ns: int) -> int | None:
        """Return how many tokens may be taken now; None when there is no limit."""
        if not self._per_s:
            return None
        if self._seen_ns is not None:
            # A clock that steps back gives nothing.
            self._tokens_ns += max(now_ns - self._seen_ns, 0) * self._per_s
        self._seen_ns = now_ns
        self._tokens_ns = min(self._tokens_ns, self._full_ns)
        return max(self._tokens_ns, 0) // NS_PER_S

    def take(self, tokens: int) -> None:
        """Take tokens that `allowed` gave."""
        self._tokens_ns -= tokens * NS_PER_S

    def take_in_turn(self, tokens: int, now_ns: int) -> int:
        """Take tokens whether they are there or not, behind all that were taken before. Returns:
        how long their user must wait, ns.
        """
        if self.allowed(now_ns) is None or not tokens:
            return 0
        self.take(tokens)
        return max(-self._tokens_ns, 0) // self._per_s
