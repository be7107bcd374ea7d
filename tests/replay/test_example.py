"""The bundled example, end to end on a real cluster, and wrong input, which starts nothing."""

import importlib.util
from pathlib import Path

import pytest

from tests.replay.expected import InputFiles
from tests.replay.files import write_inputs
from tests.replay.runs import check, lockstep, replay

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = InputFiles(
    *(
        EXAMPLES / f"{name}.csv"
        for name in ("creators", "followers", "fills", "prices", "instruments")
    )
)
REASONS = {
    "no_position",
    "below_lot",
    "below_min_notional",
    "short_not_allowed",
    "available_cash",
    "max_position_weight",
    "max_order_notional",
}


def test_the_example_is_what_its_generator_makes(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("generate", EXAMPLES / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    generate.main(tmp_path)
    for path in FILES:
        assert path is not None
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


@pytest.mark.real
def test_the_example_agrees_with_the_auditor_to_the_last_unit(tmp_path: Path) -> None:
    """P1, P2, P4, P7, P8: every order, disposition, position and amount; and the audit passes,
    running and stopped.
    """
    done = replay(FILES, tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    expected = check(FILES, tmp_path / "out")
    assert {reason for _, reason in expected.dispositions.values()} >= REASONS
    assert any(leg == 1 for _, leg, _, _ in expected.dispositions), "the example crosses zero"
    for name in (
        "creators",
        "fills",
        "followers",
        "orders",
        "skipped",
        "executions",
        "fill to broker",
        "audit",
    ):
        assert f"\n  {name}" in done.stdout or f"\n    {name}" in done.stdout, name
    assert "1 dropped, their creator had used the fill_id before" in done.stdout
    again = replay(FILES, tmp_path / "out")
    assert again.returncode == 2
    assert "found that of an earlier run" in again.stderr


def test_wrong_input_ends_with_2_and_starts_nothing(tmp_path: Path) -> None:
    paths = write_inputs(
        tmp_path, fills="time,fill_id,creator_id,symbol,side,qty,price\nnow,f1,ann,ACME,buy,1,1\n"
    )
    options = [part for name, path in paths.items() for part in (f"--{name}", path)]
    done = lockstep("replay", *options, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert f"{paths['fills']}:2: time: expected a time like" in done.stderr
    assert not (tmp_path / "out").exists()
