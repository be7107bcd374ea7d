"""The terminal: what a person reads, what a program reads, and what goes to the log file."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import structlog

from cluster.terminal.log_format import LogFormat
from cluster.terminal.steps import Step
from cluster.terminal.terminal import SENTENCES, Terminal, hosts_live, sentence_of


def logged(path: Path, log_format: LogFormat | None) -> None:
    path.parent.mkdir(exist_ok=True)
    terminal = Terminal("supervisor", log_path=path, log_format=log_format)
    terminal.take_log()
    log = structlog.get_logger()
    log.info("program_running", name="nats", pid=7)
    log.error("ray_broken", lacking="raylet", alarm=True)
    terminal.close()


def test_text_is_one_line_per_event_and_names_alarms(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logged(tmp_path / "logs" / "supervisor.log", LogFormat.TEXT)
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("  nats runs (process 7)")
    assert second.endswith("  ALARM Ray lacks raylet; starting it anew, with all hosts")


@pytest.mark.parametrize("log_format", [None, LogFormat.JSON])
def test_without_a_terminal_each_event_is_a_json_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], log_format: LogFormat | None
) -> None:
    logged(tmp_path / "logs" / "supervisor.log", log_format)
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(event["event"], event["level"]) for event in events] == [
        ("program_running", "info"),
        ("ray_broken", "error"),
    ]
    assert events[0]["process"] == "supervisor"
    assert events[0]["timestamp"].endswith("Z")


@pytest.mark.parametrize("log_format", list(LogFormat))
def test_the_file_has_every_event_as_a_json_line_whatever_the_terminal_shows(
    tmp_path: Path, log_format: LogFormat
) -> None:
    path = tmp_path / "logs" / "supervisor.log"
    logged(path, log_format)
    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert [event["event"] for event in events] == ["program_running", "ray_broken"]


def test_without_the_directory_of_the_log_nothing_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal("up", log_path=tmp_path / "logs" / "up.log", log_format=LogFormat.TEXT)
    terminal.take_log()
    structlog.get_logger().info("cluster_starting", data="somewhere")
    assert "starting in somewhere" in capsys.readouterr().err
    assert not (tmp_path / "logs").exists()


def test_text_never_reads_brackets_as_colours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal("up", log_path=tmp_path / "x" / "up.log", log_format=LogFormat.TEXT)
    terminal.take_log()
    structlog.get_logger().warning("retrying", what="[bold]a[/bold]", error="[/]")
    assert "[bold]a[/bold] failed: [/]; trying again" in capsys.readouterr().err


def test_a_traceback_is_shown_behind_its_event(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal("up", log_path=tmp_path / "x" / "up.log", log_format=LogFormat.TEXT)
    terminal.take_log()
    try:
        raise ValueError("seven")
    except ValueError:
        structlog.get_logger().error("broken", exc_info=sys.exc_info())
    assert "ValueError: seven" in capsys.readouterr().err


@pytest.mark.parametrize("log_format", list(LogFormat))
def test_a_command_goes_on_when_nobody_reads_its_log_any_more(
    tmp_path: Path, log_format: LogFormat
) -> None:
    path = tmp_path / "logs" / "up.log"
    path.parent.mkdir()
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", UNREAD, str(path), log_format], stderr=writing, check=False
    )
    os.close(writing)
    assert done.returncode == 0
    assert [json.loads(line)["pid"] for line in path.read_text().splitlines()] == [1, 2]


UNREAD = """
import sys
from pathlib import Path
import structlog
from cluster.terminal.log_format import LogFormat
from cluster.terminal.terminal import Terminal

terminal = Terminal("up", log_path=Path(sys.argv[1]), log_format=LogFormat(sys.argv[2]))
terminal.take_log()
for pid in (1, 2):
    structlog.get_logger().info("program_running", name="nats", pid=pid)
"""


def test_what_a_library_logs_keeps_its_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal("up", log_path=tmp_path / "x" / "up.log", log_format=LogFormat.JSON)
    terminal.take_log()
    try:
        raise ValueError("seven")
    except ValueError:
        logging.getLogger("asyncio").exception("broken")
    assert "ValueError: seven" in json.loads(capsys.readouterr().err)["exception"]


class _Noted:
    def __init__(self) -> None:
        self.reached: list[tuple[int, int]] = []

    def advance(self, by: int = 1) -> None:
        raise AssertionError("hosts are counted, not added")

    def reach(self, done: int, of: int) -> None:
        self.reached.append((done, of))

    def say(self, text: str) -> None:
        raise AssertionError("the text stays")


def test_hosts_that_become_live_move_the_bar() -> None:
    step: Step = _Noted()
    hosts_live({"event": "program_running", "level": "info"}, step)
    hosts_live({"event": "host_live", "level": "info", "live": 3, "of": 8}, step)
    assert isinstance(step, _Noted)
    assert step.reached == [(3, 8)]


def test_a_step_works_without_a_terminal(tmp_path: Path) -> None:
    terminal = Terminal("up", log_path=tmp_path / "x" / "up.log", log_format=LogFormat.TEXT)
    with terminal.step("loading", total=3, watch=hosts_live) as step:
        step.advance()
        step.reach(2, 3)
        step.say("still loading")


@pytest.mark.parametrize("event", sorted(SENTENCES))
def test_an_event_that_lacks_a_field_is_still_shown(event: str) -> None:
    assert sentence_of({"event": event, "level": "info"})
