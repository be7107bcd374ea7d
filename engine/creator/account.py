"""A creator's account: its cash and its positions."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Creator:
    """One creator account. `positions` has every instrument that it ever traded, flat ones too.
    `command` is the hash of the id of the command that opened it.
    """

    number: int
    creator_id: str
    broker: str
    cash: int
    command: int
    positions: dict[int, int] = field(default_factory=dict)
