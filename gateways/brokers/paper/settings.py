"""What the paper broker can be told, and how a configuration file is read.

Every field has a safe default but the connection's. A wrong value is refused at start with field,
expectation and finding.
"""

from pathlib import Path
from typing import Literal

import msgspec

from engine.values.ids import is_id
from engine.values.units import MICROS

NAME_LENGTH_MAX = 32
"""Execution ids are at most 64 characters and begin with the broker's name."""
_SLICES_MAX = 10
_DELAY_MS_MAX = 3_600_000


class SettingsError(ValueError):
    """A setting cannot be: says the field, what was expected and what was found."""


class FillSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How orders are filled."""

    name: str = "paper"
    """The broker's name, one NATS subject token."""
    clock: Literal["wall", "event"] = "wall"
    """What transact times and expiry follow: this machine's clock, or the event time of each block.
    """
    fee_rate_micros: int = 0
    """Fee per notional in 1e-6, rounded up to the micro."""
    slippage_micros: int = 0
    """How much worse than the mark fills are in 1e-6, rounded against the order, never past its
    limit.
    """
    fill_delay_ms: int = 0
    """Wall time that an order is open before each slice is filled; cancels win until then."""
    partial_fill_slices: int = 1
    """In how many executions an order is filled, as evenly as it goes."""
    reject_every_n: int = 0
    """Every n-th order ever taken is rejected, 0 for none."""
    reject_ratio_micros: int = 0
    """Share of orders rejected in 1e-6, chosen by order id and seed."""
    reject_seed: int = 0
    """Changes which orders `reject_ratio_micros` chooses."""
    duplicate_executions: bool = False
    """Publish each executions message twice, the second time under another message id."""
    execute_before_reply: bool = False
    """Answer a block only once its executions are acknowledged by JetStream."""
    order_ids: Literal["refused", "looked_up", "unchecked"] = "refused"
    """What is done with an order id seen before: refused; or placed again, with look-ups answered
    or refused.
    """
    lost_answers_ratio_micros: int = 0
    """Share of answers that are never sent in 1e-6, to test with."""
    lost_answers_seed: int = 0
    """Changes which answers are lost."""

    def __post_init__(self) -> None:
        if not is_id(self.name) or len(self.name) > NAME_LENGTH_MAX:
            raise SettingsError(
                f"name: expected 1 to {NAME_LENGTH_MAX} of [A-Za-z0-9_-], found {self.name[:70]!r}"
            )
        for field, low, high in (
            ("fee_rate_micros", 0, MICROS),
            ("slippage_micros", 0, MICROS - 1),
            ("fill_delay_ms", 0, _DELAY_MS_MAX),
            ("partial_fill_slices", 1, _SLICES_MAX),
            ("reject_every_n", 0, 1 << 40),
            ("reject_ratio_micros", 0, MICROS),
            ("reject_seed", 0, (1 << 63) - 1),
            ("lost_answers_ratio_micros", 0, MICROS - 1),
            ("lost_answers_seed", 0, (1 << 63) - 1),
        ):
            value = getattr(self, field)
            if not low <= value <= high:
                raise SettingsError(f"{field}: expected {low} to {high}, found {value}")


class PaperBrokerConfig(FillSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The configuration file of `python -m gateways.brokers.paper`: `FillSettings`, where to keep
    and where to speak.
    """

    ledger_dir: str
    """Directory of the ledger, made if missing."""
    nats_url: str
    """Server or servers, comma between."""
    user: str = ""
    """NATS user."""
    password: str = ""
    """NATS password."""
    inbox_prefix: str = "_INBOX"
    """First tokens of the subjects that acknowledgements come back on."""
    lock_wait_s: float = 5.0
    """How long to wait for another process to let go of the ledger before giving up."""

    def __repr__(self) -> str:
        return (
            f"PaperBrokerConfig(name={self.name!r}, "
            f"ledger_dir={self.ledger_dir!r}, nats_url={self.nats_url!r})"
        )


def load_config(path: Path) -> PaperBrokerConfig:
    """Read a configuration file. Raises: SettingsError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=PaperBrokerConfig)
    except OSError as error:
        raise SettingsError(
            f"{path}: expected a readable JSON file, found {error.strerror}"
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error
