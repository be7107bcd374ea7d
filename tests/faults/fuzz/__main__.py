"""Fuzz for as long as is wanted: `python -m tests.faults.fuzz --seconds N --seed S`."""

import argparse
import asyncio
import time

import structlog

from tests.faults.fuzz.running import fuzzed, undisturbed

MESSAGES = 200


def main() -> None:
    """Take one seed after the other, until the time is over. An error names its seed."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    expected = asyncio.run(undisturbed(MESSAGES))
    until_s, seed, longest_ms = time.monotonic() + given.seconds, given.seed, 0.0
    while time.monotonic() < until_s:
        try:
            outcome = asyncio.run(fuzzed(seed, MESSAGES))
            assert outcome.honest == expected, "the honest broker's account was moved"
        except BaseException:
            print(f"seed {seed}: failed")
            raise
        longest_ms = max(longest_ms, outcome.longest_turn_ms)
        print(
            f"seed {seed}: {outcome.applied} applied, {outcome.refused} refused, "
            f"{outcome.repeated} repeated; longest turn {longest_ms:.0f} ms"
        )
        seed += 1


if __name__ == "__main__":
    main()
