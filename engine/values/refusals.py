"""Refusals: business never raises, it answers why not."""

from typing import NamedTuple


class Refused(NamedTuple):
    """A refusal: a code for programs and a text for people."""

    reason: str
    text: str
