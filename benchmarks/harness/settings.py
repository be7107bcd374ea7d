"""Types of benchmark settings. A wrong value is refused before anything starts."""

from typing import Annotated, Literal

import msgspec

Count = Annotated[int, msgspec.Meta(ge=1, le=100_000_000)]
CountOrNone = Annotated[int, msgspec.Meta(ge=0, le=100_000_000)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
SecondsOrNone = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
Rate = Annotated[float, msgspec.Meta(gt=0, le=1_000_000)]
"""Fills per second."""
Share = Annotated[float, msgspec.Meta(gt=0, le=100)]
Seed = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]
Shards = Literal[1, 2, 4, 8, 16, 32, 64]
"""A power of two, as the cluster's are; more than that many hosts no machine at hand bears."""


def expect_fills(per_s: float, seconds: float) -> None:
    """Refuse a stretch that is too short for one fill. Raises: ValueError."""
    if round(per_s * seconds) < 1:
        raise ValueError(
            f"expected time for a fill at least, found {seconds:g} s at {per_s:g} fills/s"
        )


def expect_growing(values: tuple[int, ...]) -> None:
    """Refuse values that do not grow from one to the next. Raises: ValueError."""
    if list(values) != sorted(set(values)):
        raise ValueError(f"expected growing numbers, found {', '.join(map(str, values))}")
