"""Fuzz for as long as is wanted: `python -m tests.faults.fuzz --seconds N --seed S`, in memory, or
with `--cluster` on a real cluster.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

import structlog

from actors.settings import OrderIds
from tests.faults.adversarial.unreliable import SkippingLoop
from tests.faults.fuzz.answered import Answered, answered
from tests.faults.fuzz.real_cluster import CONFIG
from tests.faults.fuzz.real_cluster import fuzzed as fuzzed_cluster
from tests.faults.fuzz.running import fuzzed, undisturbed
from tests.faults.kill.running import temporary_cluster

MESSAGES = 200


def main() -> None:
    """Take one seed after the other, until the time is over. An error names its seed."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cluster", action="store_true", help="on a real cluster, one seed")
    given = parser.parse_args()
    if given.cluster:
        _fuzz_a_cluster(given.seed, given.seconds)
        return
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    expected = asyncio.run(undisturbed(MESSAGES))
    untroubled = _run(0, OrderIds.REFUSED, "")
    until_s, seed, longest_ms = time.monotonic() + given.seconds, given.seed, 0.0
    while time.monotonic() < until_s:
        try:
            outcome = asyncio.run(fuzzed(seed, MESSAGES))
            assert outcome.honest == expected, "the honest broker's account was moved"
            _answer(seed, untroubled)
        except BaseException:
            print(f"seed {seed}: failed")
            raise
        longest_ms = max(longest_ms, outcome.longest_turn_ms)
        print(
            f"seed {seed}: {outcome.applied} applied, {outcome.refused} refused, "
            f"{outcome.repeated} repeated; longest turn {longest_ms:.0f} ms"
        )
        seed += 1


def _fuzz_a_cluster(seed: int, seconds: float) -> None:
    """Send junk to one cluster until the time is over. Raises: AssertionError, TimeoutError."""
    with temporary_cluster("lockstep-fuzz-", CONFIG) as cluster:
        found = asyncio.run(fuzzed_cluster(cluster, seed, sys.maxsize, seconds))
    print(f"seed {seed}: {found.messages} messages, {found.counts}, faults {found.faults}")


def _answer(seed: int, untroubled: Answered) -> None:
    """Let a broker answer order blocks with lies, then with noise. Raises: AssertionError."""
    for order_ids in OrderIds:
        assert _run(seed, order_ids, "lies").owners == 1, f"{order_ids}: the gateway crashed"
    found = _run(seed, OrderIds.REFUSED, "noise")
    assert found.owners == 1, "noise: the gateway crashed"
    assert found.holdings == untroubled.holdings, "noise: an account was moved"
    assert found.report is not None
    assert found.report.passed, "\n".join(found.report.lines())


def _run(seed: int, order_ids: OrderIds, junk: str) -> Answered:
    with (
        tempfile.TemporaryDirectory() as directory,
        asyncio.Runner(loop_factory=SkippingLoop) as runner,
    ):
        return runner.run(answered(seed, order_ids, Path(directory), junk=junk))


if __name__ == "__main__":
    main()
