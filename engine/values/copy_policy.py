"""The copy policy: the engine's settings that decisions depend on."""

from typing import NamedTuple

from engine.values.units import NS_PER_S


class CopyPolicy(NamedTuple):
    """The engine's settings that decisions depend on. Each decision records what it used of
    them.
    """

    entry_window_ns: int = 60 * NS_PER_S
    slippage_cap: int = 5_000
    fee_rate: int = 0
    denied: frozenset[str] = frozenset()
