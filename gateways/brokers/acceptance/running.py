"""One run of the suite against a program on NATS: a line per rule, and the counts at the end."""

from collections import Counter
from collections.abc import Callable

from gateways.brokers.acceptance.bench import Bench, SuiteOptions
from gateways.brokers.acceptance.nats_program import ProgramProcess, open_program
from gateways.brokers.acceptance.rules.rule import RuleOutcome, Verdict, lines_of, run_rules
from gateways.brokers.acceptance.rules.suite import rules_of
from gateways.nats.connection import NatsConnectionOptions


async def run_suite(
    nats: NatsConnectionOptions,
    broker: str,
    process: ProgramProcess | None,
    options: SuiteOptions,
    tell: Callable[[str], None],
) -> int:
    """Run all rules. `tell` gets each line. Returns: the exit code, 1 when a rule was broken.
    Raises: OperatingError, OSError.
    """

    def report(verdict: Verdict) -> None:
        for line in lines_of(verdict):
            tell(line)

    program = await open_program(nats, broker, process)
    try:
        verdicts = await run_rules(rules_of(options.format), Bench(program, options), report)
    finally:
        await program.close()
    counts = Counter(verdict.outcome for verdict in verdicts)
    tell(", ".join(f"{counts[outcome]} {outcome.value}" for outcome in RuleOutcome))
    return 1 if counts[RuleOutcome.FAILED] else 0
