"""Answers lost on purpose, to test the gateway with."""

import random

from engine.values.units import MICROS
from gateways.brokers.paper.settings import FillSettings


class LostAnswers:
    """Chooses the answers that are never sent, the same ones for the same seed."""

    def __init__(self, settings: FillSettings) -> None:
        self._ratio_micros = settings.lost_answers_ratio_micros
        self._random = random.Random(settings.lost_answers_seed)

    def loses_next(self) -> bool:
        """Return whether the next answer is lost."""
        return self._ratio_micros > 0 and self._random.randrange(MICROS) < self._ratio_micros
