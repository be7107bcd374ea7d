"""Reports and published fills for the tests of the harness."""

from typing import Any

import msgspec

from benchmarks.harness.benchmark import (
    report_of,
)
from benchmarks.harness.fills import Plan, TimedFill
from benchmarks.harness.report import (
    BenchReport,
    Goal,
    Measured,
)
from benchmarks.measures import latency
from cluster.config.options import Config


def published(*intended_ns: int) -> list[TimedFill]:
    return [
        TimedFill(Plan("c", f"e{number}", "S", "buy", "1"), time_ns, time_ns, time_ns, number)
        for number, time_ns in enumerate(intended_ns)
    ]


def report(passed: bool, **summary: object) -> BenchReport:
    measured = Measured(
        runs=[{"run": 1}], summary=dict(summary), goals=(Goal(figure="p50", at_most=5),)
    )
    settings = latency.SIZES["tiny"]
    return report_of(
        latency.BENCHMARK, settings, Config(), measured, {"passed": passed}, command="x", machine={}
    )


MACHINE = {"processor": "P", "cores": 2, "load_1m": 0.1, "packages": {"ray": "2"}}


def fanout_report(**changes: Any) -> BenchReport:
    runs = [
        {"run": number, "followers": followers, "orders_per_s": 1_234_567.0 + number, "held": True}
        for number in (1, 2, 3)
        for followers in (1_000, 1_000_000)
    ]
    made = BenchReport(
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
