"""Instruments: their symbols, lots and minimum notionals."""

from dataclasses import dataclass
from typing import NamedTuple


class InstrumentTerms(NamedTuple):
    """The terms on which an instrument trades: `lot` in 1e-8 units, `min_notional` in micros."""

    lot: int
    min_notional: int


@dataclass(frozen=True, slots=True)
class Instrument:
    """An instrument as a creator shard introduced it."""

    symbol: str
    terms: InstrumentTerms
