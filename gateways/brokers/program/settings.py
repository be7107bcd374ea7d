"""Settings that every broker program has.

A program's own settings extend `ProgramSettings`. A wrong value is refused at start: the error
says the field, what was expected and what was found.
"""

from typing import Literal

import msgspec

from engine.values.ids import is_id

NAME_LENGTH_MAX = 32
"""Execution ids are at most 64 characters and begin with the broker's name."""


class SettingsError(ValueError):
    """A setting cannot be used. The message says the field, what was expected and what was
    found.
    """


class ProgramSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A broker program's name, and its rule for order ids."""

    name: str
    """The broker's name, one NATS subject token."""
    order_ids: Literal["refused", "looked_up", "unchecked"] = "refused"
    """Treatment of an order id seen before. `refused` never places it again. The other two place
    it again; `looked_up` answers look-ups, `unchecked` refuses them.
    """

    def __post_init__(self) -> None:
        if not is_id(self.name) or len(self.name) > NAME_LENGTH_MAX:
            raise SettingsError(
                f"name: expected 1 to {NAME_LENGTH_MAX} of [A-Za-z0-9_-], found {self.name[:70]!r}"
            )


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """Where a program keeps its ledger, and how it reaches NATS."""

    ledger_dir: str
    nats_url: str
    user: str
    password: str
    inbox_prefix: str
    lock_wait_s: float
    """Seconds to wait for another process to release the ledger."""
    credentials_path: str = ""
    """File whose login of the role `broker_<name>` replaces `user` and `password`."""
