"""`lockstep check-broker`: the acceptance suite against one broker's program, on a NATS that the
command starts itself.

The program logs in as it does in production: by the role `broker_<name>` of DIR/credentials.json,
with that role's permissions. DIR stays, so the program finds the same address and login the next
time. The suite sends orders. So DIR, and the program's ledger, belong to the check alone. A running
cluster's directory is refused, unless its ledger at the broker is said to be a test ledger.
"""

import shlex
import sys
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from actors.errors import OperatingError
from cluster.command_line.check_nats import CheckNats, check_nats, refuse
from cluster.config.options import Config
from cluster.config.roles import broker_role
from cluster.errors import ClusterError, UsageError
from cluster.running.stopping import run_until_stopped
from cluster.running.wiring import write_paper_broker_config
from cluster.terminal.log_format import LogFormat
from cluster.terminal.terminal import Terminal
from engine.values.units import UnitError, price_micros
from gateways.brokers.acceptance.bench import SuiteOptions
from gateways.brokers.acceptance.nats_program import ProgramProcess
from gateways.brokers.acceptance.running import run_suite

NOT_BEGUN = 2
"""The exit code when the suite could not begin or go on."""
START_S = 30.0
START_BY_HAND_S = 300.0
"""The time in which a person starts the program, with what the command prints."""


class BrokerCheck(NamedTuple):
    """What is checked, and how. `start` is the command that starts the program, empty when somebody
    else runs it.
    """

    data: Path
    config: Config
    broker: str
    start: str
    options: SuiteOptions
    is_test_ledger: bool = False
    """Nothing in the broker's ledger is real, although a running cluster uses it."""


def run(check: BrokerCheck) -> int:
    """Check a program. Returns: the exit code, 1 when it broke a rule, 2 when the suite could not
    begin or go on, or was stopped.

    Raises: UsageError before anything is started.
    """
    refuse(check.data, check.config, check.broker, is_test_ledger=check.is_test_ledger)
    terminal = Terminal(
        "check-broker",
        log_path=check.data / "logs" / "check-broker.log",
        log_format=LogFormat.TEXT,
    )
    terminal.take_log()
    try:
        with closing(terminal):
            return run_until_stopped(_run(check), stopped=lambda: NOT_BEGUN)
    except (ClusterError, OperatingError, OSError) as error:
        print(f"lockstep: {error}", file=sys.stderr)
        return NOT_BEGUN


def suite_options(
    config: Config, broker: str, *, price: str, start_s: float | None, start: str, **others: Any
) -> SuiteOptions:
    """Return the suite's options for a broker. `price` is a decimal, `others` are fields of
    `SuiteOptions`. A program that is started by hand has more time. Raises: UsageError.
    """
    if broker not in config.brokers:
        raise UsageError(
            f"check-broker: expected a broker of the configuration ({', '.join(config.brokers)}), "
            f"found {broker}"
        )
    is_started_here = bool(start) or config.brokers[broker].embedded
    try:
        return SuiteOptions(
            order_ids=config.brokers[broker].order_ids.value,
            format=config.brokers[broker].format.value,
            price=price_micros(price, "--price"),
            start_s=start_s or (START_S if is_started_here else START_BY_HAND_S),
            **others,
        )
    except UnitError as error:
        raise UsageError(str(error)) from None


async def _run(check: BrokerCheck) -> int:
    async with check_nats(check.data, check.config) as nats:
        servers, options = nats.servers, check.options
        if nats.cluster_id:
            options = msgspec.structs.replace(options, cluster=nats.cluster_id)
        for line in _introduction(check.broker, nats):
            print(line, flush=True)
        process = _process(check, nats)
        if process is None:
            text = f"start your program now: the suite waits {options.start_s:g} s for it"
            print(text, flush=True)
        return await run_suite(
            servers.engine.connection(servers.nats_url, "check-broker"),
            check.broker,
            process,
            options,
            lambda line: print(line, flush=True),
        )


def _introduction(broker: str, nats: CheckNats) -> tuple[str, ...]:
    return (
        f"NATS: {nats.servers.nats_url}",
        f"login: {broker_role(broker)} in {nats.servers.credentials_path}",
        f"subjects: answer requests on broker.{broker}.orders, "
        f"publish on executions.{broker}.<shard>",
        *nats.effects,
    )


def _process(check: BrokerCheck, nats: CheckNats) -> ProgramProcess | None:
    """Return the program's process, None when somebody else runs it. An embedded broker is a paper
    broker: the running cluster has one, else this command runs it itself.
    """
    command = check.start
    if not command and check.config.brokers[check.broker].embedded and not nats.cluster_id:
        path = write_paper_broker_config(check.data, check.config, nats.servers, check.broker)
        command = shlex.join(
            [sys.executable, "-m", "gateways.brokers.paper", "--config", str(path)]
        )
    if not command:
        return None
    log = check.data / "logs" / f"broker-{check.broker}.log"
    print(f"output of the program: {log}", flush=True)
    return ProgramProcess(command, log, nats.environment)
