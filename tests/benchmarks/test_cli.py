"""`lockstep bench`: wrong sizes, settings, files and reports are refused."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks.cli import run
from benchmarks.harness.report import (
    write_report,
)
from tests.benchmarks.harness.builders import fanout_report, report


def test_compare_refuses_a_missing_report_and_one_of_another_benchmark(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, other = tmp_path / "a.json", tmp_path / "b.json"
    write_report(report(True, p50=2.0), path)
    write_report(msgspec.structs.replace(report(True, p50=2.0), bench="other"), other)
    assert run(["compare", str(path), str(path)]) == 0
    assert run(["compare", str(path), str(tmp_path / "missing.json")]) == 2
    assert run(["compare", str(path), str(other)]) == 2
    assert "one benchmark" in capsys.readouterr().err


def test_an_unknown_size_or_setting_is_refused_before_anything_starts() -> None:
    assert run(["latency", "--size", "huge"]) == 2
    assert run(["latency", "--set", "unknown=1"]) == 2


@pytest.mark.parametrize("text", ["rubbish", "{}", '{"bench":"fanout"}'])
def test_compare_names_the_file_that_is_no_report(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, wrong = tmp_path / "good.json", tmp_path / "wrong.json"
    write_report(fanout_report(), good)
    wrong.write_text(text)
    assert run(["compare", str(good), str(wrong)]) == 2
    assert "wrong.json: expected a report" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"format": 2}, "expected format 1, found 2"),
        ({"audit": {"passed": False}}, "whose audit failed"),
    ],
)
def test_compare_refuses_a_report_without_figures_or_of_another_format(
    changes: dict[str, Any], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.json"
    write_report(fanout_report(**changes), path)
    assert run(["compare", str(path), str(path)]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "file/a.json", "a.png"])
def test_a_report_that_cannot_be_written_is_refused_before_anything_starts(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    assert run(["fanout", "--size", "tiny", "--json", str(tmp_path / name)]) == 2
    assert "--json" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
