"""A creator's account: its cash and its positions."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Creator:
    """One creator account: `positions` by instrument, every one it ever traded, flat ones too."""

    number: int
    creator_id: str
    broker: str
    cash: int
    command: int
    positions: dict[int, int] = field(default_factory=dict)
