"""What the harness prints and refuses: every figure whole at any width, differences named, paths
checked before anything is measured.
"""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks.cli import run, store
from benchmarks.harness.printing import differences, print_report
from benchmarks.harness.progress import Reporter
from benchmarks.harness.report import Goal, Report, write_report
from benchmarks.measures import fanout

MACHINE = {"processor": "P", "cores": 2, "load_1m": 0.1, "packages": {"ray": "2"}}


def report(**changes: Any) -> Report:
    runs = [
        {"run": number, "followers": followers, "orders_per_s": 1_234_567.0 + number, "held": True}
        for number in (1, 2, 3)
        for followers in (1_000, 1_000_000)
    ]
    made = Report(
        bench="fanout",
        command="lockstep bench fanout --data '[/x]'",
        settings={"fills": 5, "followers": (1_000, 1_000_000), "cluster": {"shards": 2}},
        machine=MACHINE,
        runs=runs,
        summary={"rate": 1_234_567.0, "result_hash": "abc"},
        goals=[Goal(figure="rate", at_least=700_000, found=1_234_567.0, met=True)],
        audit={
            "passed": True,
            "checks": [{"promise": "P1", "passed": True, "counts": {"orders": 12_345}}],
        },
    )
    return msgspec.structs.replace(made, **changes)


@pytest.mark.parametrize("columns", [80, 140])
def test_every_run_is_printed_whole_at_any_width(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    print_report(report())
    printed = capsys.readouterr().out
    assert "…" not in printed
    for number in (1, 2, 3):
        assert printed.count(f"{1_234_567 + number:,}") == 2
    assert "followers 1,000,000" in printed
    assert "reproduce: lockstep bench fanout --data '[/x]'\n" in printed
    assert "settings: fills=5 followers=1000,1000000\n" in printed
    assert "audit passed, 12,345 orders" in printed
    assert "goal rate >= 700,000: 1,234,567  met" in printed
    assert "result hash: abc" in printed


def test_an_audit_that_failed_is_told_with_what_offends(capsys: pytest.CaptureFixture[str]) -> None:
    check = {"promise": "P4", "passed": False, "offender": "[/part] missing", "counts": {}}
    print_report(report(runs=[], summary={}, goals=[], audit={"passed": False, "checks": [check]}))
    assert "audit FAILED, so no figure: P4: [/part] missing" in capsys.readouterr().out


def test_what_is_said_meanwhile_stays_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    Reporter().say("starting a cluster in /data/[/bold]/of a long name")
    assert capsys.readouterr().err == "starting a cluster in /data/[/bold]/of a long name\n"


def test_reports_of_other_settings_machines_or_results_are_told_apart() -> None:
    before = report()
    after = report(
        settings={**before.settings, "fills": 6, "cluster": {"shards": 1}},
        machine={**MACHINE, "load_1m": 2.0, "packages": {"ray": "3"}},
        summary={"rate": 2.0, "result_hash": "def", "more": 1},
    )
    assert differences(before, before) == []
    assert differences(before, after) == [
        "settings differ: fills 5, 6",
        "settings differ: cluster.shards 2, 1",
        "machines differ: packages.ray 2, 3",
        "results differ: hash abc, def",
        "in one of the two only: more",
    ]


@pytest.mark.parametrize("text", ["rubbish", "{}", '{"bench":"fanout"}'])
def test_compare_names_the_file_that_is_no_report(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, wrong = tmp_path / "good.json", tmp_path / "wrong.json"
    write_report(report(), good)
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
    write_report(report(**changes), path)
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


def test_a_report_without_figures_leaves_no_earlier_chart(tmp_path: Path) -> None:
    path, chart = tmp_path / "a.json", tmp_path / "a.png"
    chart.touch()
    told = store(
        fanout.BENCHMARK, report(runs=[], summary={}, goals=[], audit={"passed": False}), path
    )
    assert told == [f"report: {path}"]
    assert path.exists()
    assert not chart.exists()


def test_a_chart_is_drawn_of_a_run_that_has_figures_left_out(tmp_path: Path) -> None:
    from benchmarks.harness.charts import draw_percentiles, new_figure, save

    figure, axes = new_figure(1, fanout.BENCHMARK.name)
    draw_percentiles(
        axes[0], {"accepted": {"count": 0}, "updated": {"p50_ms": 2.0, "max_ms": 9.0}}, "x"
    )
    save(figure, tmp_path / "chart.png")
    assert (tmp_path / "chart.png").stat().st_size > 1000
