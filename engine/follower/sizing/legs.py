"""Legs: how one creator's fill splits into signals. Crossing zero is a close and then an open."""

from typing import NamedTuple

from engine.journal.events.creator import FillApplied


class Leg(NamedTuple):
    """One signal of a fill: `side` is the fill's, `quantity` this leg's, positions are |P| around
    this leg.
    """

    leg: int
    side: int
    quantity: int
    is_increase: bool
    position_before: int
    position_after: int

    @property
    def signed_position_after(self) -> int:
        """The creator's position after this leg, negative for a short."""
        side = self.side if self.is_increase else -self.side
        return side * self.position_after


def legs(position_before: int, side: int, quantity: int) -> tuple[Leg, ...]:
    """Split a fill by the position it meets. One that moves nothing, such as a correction of the
    price alone, has no leg.

    Units: 1e-8, `position_before` signed.
    """
    if not quantity:
        return ()
    held = abs(position_before)
    if position_before * side >= 0:
        return (Leg(0, side, quantity, True, held, held + quantity),)
    if quantity <= held:
        return (Leg(0, side, quantity, False, held, held - quantity),)
    return Leg(0, side, held, False, held, 0), Leg(
        1, side, quantity - held, True, 0, quantity - held
    )


def legs_of(fill: FillApplied) -> tuple[Leg, ...]:
    """Return the signals that an applied fill broadcasts."""
    return legs(fill.position_before, fill.side, fill.quantity)
