"""The paper broker's settings, and its configuration file.

Every field has a safe default, except those of the connection. A wrong value is refused at start:
the error says the field, what was expected and what was found.
"""

from pathlib import Path
from typing import Literal

import msgspec

from engine.values.units import MICROS
from gateways.brokers.program.settings import Connection, ProgramSettings, SettingsError

_SLICES_MAX = 10
_DELAY_MS_MAX = 3_600_000


class FillSettings(ProgramSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rules by which orders are filled, and the faults to test a gateway with."""

    name: str = "paper"
    """The broker's name, one NATS subject token."""
    clock: Literal["wall", "event"] = "wall"
    """The clock of transact times and expiry: this machine's, or the event time of each block."""
    fee_rate_micros: int = 0
    """Fee per notional in 1e-6, rounded up to the micro."""
    slippage_micros: int = 0
    """Slippage of fills against the mark in 1e-6, rounded against the order, never past its
    limit.
    """
    fill_delay_ms: int = 0
    """Wall time that an order stays open before each slice is filled; until then a cancel wins."""
    partial_fill_slices: int = 1
    """Number of executions that fill an order, in slices as even as possible."""
    reject_every_n: int = 0
    """Reject every n-th order ever taken, 0 for none."""
    reject_ratio_micros: int = 0
    """Share of orders to reject in 1e-6, chosen by order id and seed."""
    reject_seed: int = 0
    """Changes which orders `reject_ratio_micros` chooses."""
    duplicate_executions: bool = False
    """Publish each executions message twice, the second time under another message id."""
    execute_before_reply: bool = False
    """Answer a block only once its executions are acknowledged by JetStream."""
    lost_answers_ratio_micros: int = 0
    """Share of answers that are never sent in 1e-6, to test with."""
    lost_answers_seed: int = 0
    """Changes which answers are lost."""

    def __post_init__(self) -> None:
        super().__post_init__()
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
    """The configuration file of `python -m gateways.brokers.paper`: `FillSettings`, the ledger's
    directory and the connection.
    """

    ledger_dir: str
    """Directory of the ledger, made if it is missing."""
    nats_url: str
    """One server or several, separated by commas."""
    user: str = ""
    """NATS user."""
    password: str = ""
    """NATS password."""
    inbox_prefix: str = "_INBOX"
    """First tokens of the subjects that acknowledgements arrive on."""
    credentials_path: str = ""
    """File like DIR/credentials.json. If it has a login of the role `broker_<name>`, this replaces
    `user` and `password` at each connect.
    """
    lock_wait_s: float = 5.0
    """Seconds to wait for another process to release the ledger."""

    def connection(self) -> Connection:
        """Return where to keep the ledger, and how to reach NATS."""
        return Connection(
            ledger_dir=self.ledger_dir,
            nats_url=self.nats_url,
            user=self.user,
            password=self.password,
            inbox_prefix=self.inbox_prefix,
            credentials_path=self.credentials_path,
            lock_wait_s=self.lock_wait_s,
        )

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
