"""Pauses between attempts that grow: of a write, a start, a question.

The pauses depend on nothing but the number of attempts, so a test knows them all. There is no
randomness in them: those who wait on one another here are few, and each waits for something else.
"""


class Backoff:
    """The pauses of one retried operation: `s_min` first, each twice the last, at most `s_max`.
    Units: seconds.
    """

    __slots__ = ("_next_s", "_s_max", "_s_min")

    def __init__(self, s_min: float, s_max: float) -> None:
        self._s_min = s_min
        self._s_max = s_max
        self._next_s = s_min

    def next_s(self) -> float:
        """Return the pause to make now."""
        pause_s = self._next_s
        self._next_s = min(2 * pause_s, self._s_max)
        return pause_s

    def reset(self) -> None:
        """Begin with the shortest pause again."""
        self._next_s = self._s_min
