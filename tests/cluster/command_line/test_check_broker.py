"""`lockstep check-broker`: what it refuses, and whole checks of a program that logs in by the
credentials of the check, as a foreign broker's does.
"""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from actors.ports import EXECUTIONS
from cluster.command_line.cli import main
from cluster.config.file import load
from cluster.config.options import Config
from cluster.processes.run_file import read_run
from cluster.running.data_directory import note_streams, opened
from tests.faults.kill.running import COMMAND, RunningCluster

ROOT = Path(__file__).parents[3]
SAMPLE = ROOT / "examples" / "foreign_broker.toml"
JSON_SAMPLE = ROOT / "examples" / "json_broker.toml"
FOREIGN = """\
import json, os, sys
from pathlib import Path
data, ledger, *settings = sys.argv[1:]
credentials = json.loads((Path(data) / "credentials.json").read_text())
config = Path(ledger) / "config.json"
config.write_text(json.dumps({
    "name": "acme", "ledger_dir": ledger, "nats_url": credentials["nats_url"],
    **credentials["users"]["broker_acme"], **dict(each.split("=") for each in settings),
}))
os.execv(sys.executable, [sys.executable, "-m", "gateways.brokers.paper", "--config", str(config)])
"""


def refused(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["lockstep", "check-broker", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("zenith",), "expected a broker of the configuration (paper), found zenith"),
        (("paper", "--price", "ten"), "--price: expected"),
        (("paper", "--price", "0"), "--price: expected"),
        (("paper", "--test-ledger"), "expected the data directory of a running cluster"),
    ],
)
def test_a_wrong_request_starts_nothing(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: tuple[str, ...],
    told: str,
) -> None:
    data = tmp_path / "check"
    assert refused(monkeypatch, *arguments, "--data", str(data)) == 2
    assert told in capsys.readouterr().err
    assert not data.exists()


def test_a_cluster_s_directory_and_a_cluster_s_nats_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    with opened(data, Config()):
        note_streams(data, ("INGRESS",))
    assert refused(monkeypatch, "paper", "--data", str(data)) == 2
    told = "expected a directory for checks alone, found a cluster's that does not run"
    assert told in capsys.readouterr().err
    config = tmp_path / "own.toml"
    config.write_text('[nats]\nurl = "nats://127.0.0.1:4222"\n')
    arguments = ("paper", "--data", str(tmp_path / "check"), "--config", str(config))
    assert refused(monkeypatch, *arguments) == 2
    assert "nats.url: expected none, found one" in capsys.readouterr().err


@pytest.mark.parametrize(("sample", "format"), [(SAMPLE, "binary"), (JSON_SAMPLE, "json")])
def test_a_sample_names_a_program_that_the_cluster_does_not_start(
    sample: Path, format: str
) -> None:
    config = load(sample)
    assert list(config.brokers) == ["acme"]
    assert not config.brokers["acme"].embedded
    assert config.brokers["acme"].format == format


def command(data: Path, *options: str, config: Path = SAMPLE) -> "subprocess.CompletedProcess[str]":
    """Run the command for the broker of a sample."""
    return subprocess.run(
        [*COMMAND, "check-broker", "acme", "--data", str(data), "--config", str(config), *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def program(data: Path, ledger: Path, *settings: str) -> str:
    """The command that starts a paper broker by the credentials of a directory."""
    ledger.mkdir(exist_ok=True)
    return shlex.join([sys.executable, "-c", FOREIGN, str(data), str(ledger), *settings])


def check(tmp_path: Path, *settings: str) -> tuple[int, list[str]]:
    """Check a program. Returns: the exit code and the lines."""
    data = tmp_path / "check"
    start = program(data, tmp_path / "ledger", *settings)
    done = command(data, "--kills", "2", "--start", start)
    assert read_run(data) is None, "the check leaves nothing running"
    return done.returncode, done.stdout.splitlines()


@pytest.mark.real
def test_a_program_passes_twice_with_one_address_and_one_login(tmp_path: Path) -> None:
    addresses = []
    for _ in range(2):
        code, lines = check(tmp_path)
        assert code == 0, "\n".join(lines)
        assert [line for line in lines if line.startswith("FAILED")] == []
        addresses.append(lines[:2])
    assert addresses[0] == addresses[1]
    users = json.loads((tmp_path / "check" / "credentials.json").read_text())["users"]
    assert users["broker_acme"]["password"] not in "\n".join(lines)


@pytest.mark.real
def test_the_example_that_takes_json_passes(tmp_path: Path) -> None:
    data = tmp_path / "check"
    start = [sys.executable, str(ROOT / "examples" / "json_broker.py"), "--name", "acme"]
    start += ["--credentials", str(data / "credentials.json"), "--ledger", str(tmp_path / "l.db")]
    options = ["--kills", "2", "--start", shlex.join(start)]
    done = command(data, *options, config=JSON_SAMPLE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed   json" in done.stdout


@pytest.mark.real
def test_a_program_that_breaks_a_rule_fails_the_check(tmp_path: Path) -> None:
    code, lines = check(tmp_path, "order_ids=unchecked")
    assert code == 1
    broken = [number for number, line in enumerate(lines) if line.startswith("FAILED")]
    assert broken
    assert lines[broken[0] + 1].strip().startswith("expected: ")
    assert lines[broken[0] + 2].strip().startswith("found:    ")
    assert (
        lines[broken[0] + 3].strip().startswith("see:      gateways/protocol/broker-programs.md#")
    )


@pytest.mark.real
def test_a_program_that_cannot_be_started_ends_the_check_with_2(tmp_path: Path) -> None:
    done = command(tmp_path / "check", "--start", "/no/such/program")
    assert done.returncode == 2
    assert "/no/such/program" in done.stderr.splitlines()[-1]
    assert read_run(tmp_path / "check") is None


def executions_bytes_max(cluster: RunningCluster) -> int:
    status = json.loads(cluster.command("status", "--json").stdout)
    return next(int(each["bytes_max"]) for each in status["streams"] if each["name"] == EXECUTIONS)


@pytest.mark.real
def test_the_ledger_of_a_running_cluster_is_spared_unless_it_is_a_test_ledger(
    tmp_path: Path,
) -> None:
    cluster = RunningCluster(tmp_path / "data", SAMPLE)
    try:
        cluster.up()
        usual = executions_bytes_max(cluster)
        start = program(cluster.data, tmp_path / "ledger")
        spared = command(cluster.data, "--start", start)
        assert spared.returncode == 2
        assert "found a running cluster whose gateway for acme is active" in spared.stderr
        assert not (tmp_path / "ledger" / "config.json").exists()
        tried = command(cluster.data, "--test-ledger", "--kills", "1", "--start", start)
        assert tried.returncode == 0, tried.stdout + tried.stderr
        assert "From now on the ledger refuses this cluster's gateway" in tried.stdout
        assert executions_bytes_max(cluster) == usual
    finally:
        cluster.down()
