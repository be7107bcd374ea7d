"""The configuration file: every wrong value names its field."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateways.brokers.paper.settings import load_config
from gateways.brokers.program.settings import SettingsError

GOOD = {"ledger_dir": "/tmp/x", "nats_url": "nats://127.0.0.1:4222"}


def load(directory: Path, text: str) -> Any:
    path = directory / "broker.json"
    path.write_text(text)
    return load_config(path)


def test_defaults_take_no_fee_and_no_slippage(tmp_path: Path) -> None:
    config = load(tmp_path, json.dumps(GOOD | {"password": "secret"}))
    assert (config.name, config.fee_rate_micros, config.slippage_micros, config.clock) == (
        "paper",
        0,
        0,
        "wall",
    )
    assert "secret" not in repr(config)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"fee": 1}, "fee"),
        ({"clock": "sun"}, "clock"),
        ({"name": "a.b"}, "name: expected 1 to 32"),
        ({"name": "a" * 33}, "name: expected 1 to 32"),
        ({"fee_rate_micros": -1}, "fee_rate_micros: expected 0 to 1000000, found -1"),
        ({"slippage_micros": 1_000_000}, "slippage_micros: expected 0 to 999999"),
        ({"partial_fill_slices": 0}, "partial_fill_slices: expected 1 to 10, found 0"),
        ({"fill_delay_ms": "soon"}, "fill_delay_ms"),
    ],
)
def test_a_wrong_value_names_its_field(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        load(tmp_path, json.dumps(GOOD | changes))


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.json: expected a readable JSON file"):
        load_config(tmp_path / "none.json")
    with pytest.raises(SettingsError, match=r"broker\.json"):
        load(tmp_path, "{")
