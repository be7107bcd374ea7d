"""`lockstep check-broker`: the acceptance suite against one broker's program, on a NATS that the
command starts itself.

The program logs in as it does in production: by the role `broker_<name>` of DIR/credentials.json,
with that role's permissions. DIR stays, so the program finds the same address and login the next
time. The suite sends orders. So DIR, and the program's ledger, belong to the check alone.
"""

import asyncio
import shlex
import sys
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from cluster.config.credentials import credentials_path, ensure_credentials, write_credentials
from cluster.config.options import Config
from cluster.config.roles import ENGINE, broker_role
from cluster.errors import UsageError
from cluster.processes.run_file import RunFile
from cluster.running.data_directory import opened, read_identity
from cluster.running.stopping import run_until_stopped
from cluster.running.wiring import write_paper_broker_config
from cluster.servers.nats_server import start_nats
from cluster.servers.servers import Servers
from cluster.terminal.log_format import LogFormat
from cluster.terminal.terminal import Terminal
from engine.values.units import UnitError, price_micros
from gateways.brokers.acceptance.bench import SuiteOptions
from gateways.brokers.acceptance.nats_program import ProgramProcess
from gateways.brokers.acceptance.running import run_suite


class BrokerCheck(NamedTuple):
    """What is checked, and how. `start` is the command that starts the program, empty when somebody
    else runs it.
    """

    data: Path
    config: Config
    broker: str
    start: str
    options: SuiteOptions


def run(check: BrokerCheck) -> int:
    """Check a program. Returns: the exit code, 1 when it broke a rule or the check was stopped.

    Raises: UsageError before anything is started; OperatingError, OSError.
    """
    _refuse(check)
    terminal = Terminal(
        "check-broker",
        log_path=check.data / "logs" / "check-broker.log",
        log_format=LogFormat.TEXT,
    )
    terminal.take_log()
    with closing(terminal):
        return run_until_stopped(_run(check), stopped=lambda: 1)


def suite_options(config: Config, broker: str, *, price: str, **others: Any) -> SuiteOptions:
    """Return the suite's options for a broker. `price` is a decimal, `others` are fields of
    `SuiteOptions`. Raises: UsageError.
    """
    if broker not in config.brokers:
        raise UsageError(
            f"check-broker: expected a broker of the configuration ({', '.join(config.brokers)}), "
            f"found {broker}"
        )
    try:
        return SuiteOptions(
            order_ids=config.brokers[broker].order_ids.value,
            price=price_micros(price, "--price"),
            **others,
        )
    except UnitError as error:
        raise UsageError(str(error)) from None


def _refuse(check: BrokerCheck) -> None:
    if check.config.nats.url is not None:
        raise UsageError(
            "nats.url: expected none, found one; the check starts a NATS of its own, so that no "
            "cluster's orders are touched. Leave it out of the configuration of the check"
        )
    identity = read_identity(check.data) if check.data.exists() else None
    if identity is not None and identity.streams:
        raise UsageError(
            f"--data {check.data}: expected a directory for checks alone, found a cluster's; name "
            "another"
        )


async def _run(check: BrokerCheck) -> int:
    async with AsyncExitStack() as stack:
        run_file = stack.enter_context(opened(check.data, check.config))
        servers = await _start_nats(check, run_file)
        stack.push_async_callback(servers.stop)
        role = broker_role(check.broker)
        print(f"NATS: {servers.nats_url}", flush=True)
        print(f"login: {role} in {servers.credentials_path}", flush=True)
        process = _process(check, servers, run_file)
        if process is None:
            text = f"start your program now: the suite waits {check.options.start_s:g} s for it"
            print(text, flush=True)
        return await run_suite(
            servers.engine.connection(servers.nats_url, "check-broker"),
            check.broker,
            process,
            check.options,
            lambda line: print(line, flush=True),
        )


async def _start_nats(check: BrokerCheck, run_file: RunFile) -> Servers:
    credentials = ensure_credentials(check.data, check.config.brokers)
    nats = await start_nats(check.data, check.config, credentials, run_file)
    url = run_file.run.addresses["nats"]
    credentials = msgspec.structs.replace(credentials, nats_url=url)
    await asyncio.to_thread(write_credentials, check.data, credentials)
    path = str(credentials_path(check.data).resolve())
    return Servers(url, credentials.users[ENGINE], "", credentials, path, (nats,))


def _process(check: BrokerCheck, servers: Servers, run_file: RunFile) -> ProgramProcess | None:
    """Return the program's process, None when somebody else runs it. An embedded broker is a paper
    broker, which this command runs itself.
    """
    command = check.start
    if not command and check.config.brokers[check.broker].embedded:
        path = write_paper_broker_config(check.data, check.config, servers, check.broker)
        command = shlex.join(
            [sys.executable, "-m", "gateways.brokers.paper", "--config", str(path)]
        )
    if not command:
        return None
    log = check.data / "logs" / f"broker-{check.broker}.log"
    print(f"output of the program: {log}")
    return ProgramProcess(command, log, run_file.environment)
