"""The command line: the answers to wrong requests, and their exit codes."""

import subprocess
import sys
from pathlib import Path

import pytest

from cluster.command_line.cli import main
from cluster.terminal.terminal import sentence_of


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["lockstep", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("frobnicate",), "No such command 'frobnicate'"),
        (("up", "--nonsense"), "No such option"),
        (
            ("up", "--config", "absent.toml"),
            "lockstep: config absent.toml: expected a readable TOML file",
        ),
        (
            ("down", "--data", "absent"),
            "lockstep: --data absent: expected the data directory of a cluster",
        ),
        (("replay", "--out", "x"), "Missing option '--creators'"),
        (("replay", "--creators", "absent.csv"), "file 'absent.csv' does not exist"),
    ],
)
def test_wrong_request_ends_with_2_and_says_what_was_expected(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    told: str,
) -> None:
    assert run(monkeypatch, *arguments) == 2
    assert told in capsys.readouterr().err


def test_config_prints_the_whole_configuration(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "lockstep.toml"
    path.write_text("[cluster]\nfollower_shards = 8\n")
    assert run(monkeypatch, "config", "--config", str(path)) == 0
    assert "follower_shards = 8\n" in capsys.readouterr().out


def test_config_lists_every_option_with_its_documentation(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "config", "--options") == 0
    assert (
        "engine.part_rows = 32768\n    Subscriptions decided in one frame"
        in capsys.readouterr().out
    )


def test_down_where_nothing_runs_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(monkeypatch, "down", "--data", str(tmp_path)) == 0
    assert "no cluster runs in" in capsys.readouterr().out


def test_log_entry_on_a_terminal_is_a_line_for_people() -> None:
    entry = {
        "name": "nats",
        "pid": 7,
        "status": -9,
        "event": "program_ended",
        "process": "supervisor",
        "level": "warning",
    }
    assert sentence_of(entry) == "nats ended with status -9 (process 7); starting it again"


def test_an_event_without_a_sentence_is_shown_with_its_fields() -> None:
    entry = {"event": "clock_jumped", "level": "error", "by_s": 7, "alarm": True}
    assert sentence_of(entry) == "clock jumped: by_s 7"


def test_command_line_starts_without_loading_ray_numpy_or_clients() -> None:
    script = (
        "import sys, cluster.command_line.cli; print([m for m in ('ray', "
        "'numpy', 'nats', 'asyncpg') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
