"""Every benchmark at its tiny size on one cluster, then one audit.

    python -m tests.benchmarks.measures.tiny_runs OUT    writes OUT/<bench>.json and OUT/<bench>.png

It is a process of its own, because Ray stays in the process that starts it.
"""

import sys
import tempfile
from pathlib import Path

import uvloop

from actors.host.logging import set_up_logging
from benchmarks.cli import BENCHMARKS
from benchmarks.harness.benchmark import report_of
from benchmarks.harness.machine import fingerprint
from benchmarks.harness.progress import Reporter
from benchmarks.harness.report import write_report
from benchmarks.harness.session import audited, opened_session
from cluster.config.options import Config


async def _run(out: Path, data: Path) -> None:
    config = Config()
    measured = {}
    async with opened_session(data, config, Reporter()) as session:
        for name, benchmark in BENCHMARKS.items():
            measured[name] = await benchmark.measure(session, benchmark.sizes["tiny"])
        await session.settled()
        audit = await audited(data)
    for name, benchmark in BENCHMARKS.items():
        settings = benchmark.sizes["tiny"]
        report = report_of(
            benchmark,
            settings,
            config,
            measured[name],
            audit,
            command=f"tiny {name}",
            machine=fingerprint(),
        )
        write_report(report, out / f"{name}.json")
        if report.runs:
            benchmark.draw(report, out / f"{name}.png")


if __name__ == "__main__":
    set_up_logging("bench")
    with tempfile.TemporaryDirectory(prefix="lockstep-tiny-") as directory:
        uvloop.run(_run(Path(sys.argv[1]), Path(directory)))
