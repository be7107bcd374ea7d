"""The copy policy: the settings that the engine's decisions depend on."""

from typing import NamedTuple

from engine.values.units import NS_PER_S


class CopyPolicy(NamedTuple):
    """The settings that decisions depend on. Each decision records those that it used. Units:
    `slippage_cap` and `fee_rate` micros. `denied` are symbols.
    """

    entry_window_ns: int = 60 * NS_PER_S
    slippage_cap: int = 5_000
    fee_rate: int = 0
    denied: frozenset[str] = frozenset()
