"""Refusals: what business rules forbid is answered with a reason, and never raises."""

from typing import NamedTuple


class Refused(NamedTuple):
    """A refusal: a code for programs and a text for people."""

    reason: str
    text: str
