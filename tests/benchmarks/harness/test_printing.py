"""The harness prints every figure whole at any width and names differences between reports."""

from pathlib import Path

import pytest

from benchmarks.cli import store
from benchmarks.harness.printing import differences, print_report
from benchmarks.harness.progress import Reporter
from benchmarks.measures import fanout
from tests.benchmarks.harness.builders import MACHINE, fanout_report


@pytest.mark.parametrize("columns", [80, 140])
def test_every_run_is_printed_whole_at_any_width(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    print_report(fanout_report())
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


def test_a_failed_audit_is_printed_with_its_offender(capsys: pytest.CaptureFixture[str]) -> None:
    check = {"promise": "P4", "passed": False, "offender": "[/part] missing", "counts": {}}
    print_report(
        fanout_report(runs=[], summary={}, goals=[], audit={"passed": False, "checks": [check]})
    )
    assert "audit FAILED, so no figure: P4: [/part] missing" in capsys.readouterr().out


def test_a_progress_message_stays_on_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    Reporter().say("starting a cluster in /data/[/bold]/of a long name")
    assert capsys.readouterr().err == "starting a cluster in /data/[/bold]/of a long name\n"


def test_reports_of_other_settings_machines_or_results_are_told_apart() -> None:
    before = fanout_report()
    after = fanout_report(
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


def test_a_report_without_figures_leaves_no_earlier_chart(tmp_path: Path) -> None:
    path, chart = tmp_path / "a.json", tmp_path / "a.png"
    chart.touch()
    told = store(
        fanout.BENCHMARK,
        fanout_report(runs=[], summary={}, goals=[], audit={"passed": False}),
        path,
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
