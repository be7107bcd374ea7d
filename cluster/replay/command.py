"""The work of `lockstep replay` after its input is checked: run the session, write the results,
print the table.
"""

import sys
from contextlib import AsyncExitStack, closing
from pathlib import Path

import structlog

from cluster.audit import AuditReport, audit_data
from cluster.config.options import Config
from cluster.history.store import opened_store
from cluster.replay.broker_csv import BrokerTotals, write_broker
from cluster.replay.decisions_csv import write_dispositions, write_orders
from cluster.replay.holdings_csv import write_positions, write_subscriptions
from cluster.replay.inputs import Inputs
from cluster.replay.lockstep import PublishedFills
from cluster.replay.outcome import ReplayOutcome, read_outcome
from cluster.replay.session import (
    ReplaySession,
    connected,
    drain,
    open_parties,
    prepare,
    publish,
    replay_config,
)
from cluster.replay.summary import counts_of, lines_of
from cluster.running.stopping import run_until_stopped
from cluster.running.supervisor import running_cluster
from cluster.terminal.log_format import LogFormat
from cluster.terminal.terminal import Terminal, hosts_live

_log = structlog.get_logger()

_NAME_WIDTH = 16


def replay(inputs: Inputs, out: Path, config: Config, log_format: LogFormat | None = None) -> int:
    """Replay checked input into OUT. Returns: the exit code. Raises: UsageError, ClusterError,
    OperatingError.
    """
    config = replay_config(config, inputs.instruments)
    data = prepare(out)
    terminal = Terminal("replay", log_path=data / "logs" / "replay.log", log_format=log_format)
    terminal.take_log()
    with closing(terminal):
        return run_until_stopped(_replay(inputs, out, data, config, terminal), stopped=_stopped)


def _stopped() -> int:
    print("lockstep: the replay was stopped; its cluster is down", file=sys.stderr, flush=True)
    return 1


async def _replay(inputs: Inputs, out: Path, data: Path, config: Config, terminal: Terminal) -> int:
    async with AsyncExitStack() as stack:
        _log.info("replay_starting", data=str(data))
        with terminal.step("starting, hosts live", watch=hosts_live):
            cluster = await stack.enter_async_context(running_cluster(data, config))
        session = await stack.enter_async_context(connected(cluster))
        published = await _publish_all(session, inputs, terminal)
        _log.info("replay_drained")
        with terminal.step("auditing"):
            report = await audit_data(data)
        _log.info("replay_writing", out=str(out))
        with terminal.step("writing the results"):
            async with opened_store(data) as store:
                outcome = await read_outcome(store, inputs, published)
            broker = _write(out, outcome)
        _print_table(outcome, broker, report)
        _log.info("replay_stopping")
    return 0 if report.passed else 1


async def _publish_all(
    session: ReplaySession, inputs: Inputs, terminal: Terminal
) -> PublishedFills:
    """Open the parties, publish fills and prices, and wait until the cluster is drained."""
    creators, subscriptions = len(inputs.creators), len(inputs.followers)
    fills, prices = len(inputs.fills), len(inputs.prices)
    _log.info("replay_opening", creators=creators, subscriptions=subscriptions)
    with terminal.step("opening subscriptions", total=subscriptions) as step:
        await open_parties(session, inputs, opened=step.advance)
    _log.info("replay_publishing", fills=fills, prices=prices)
    with terminal.step("publishing fills", total=fills) as step:
        published = await publish(session, inputs, progress=lambda done: step.reach(done, fills))
    with terminal.step("draining") as step:
        await drain(session, published, waiting_for=lambda text: step.say(f"draining: {text}"))
    return published


def _write(out: Path, outcome: ReplayOutcome) -> BrokerTotals:
    write_orders(out / "orders.csv", outcome)
    write_dispositions(out / "dispositions.csv", outcome)
    write_positions(out / "positions.csv", outcome)
    write_subscriptions(out / "subscriptions.csv", outcome)
    return write_broker(out / "broker.csv", outcome)


def _print_table(outcome: ReplayOutcome, broker: BrokerTotals, report: AuditReport) -> None:
    print()
    for name, text in lines_of(outcome, counts_of(outcome), broker, report):
        print(f"  {name:<{_NAME_WIDTH}}{text}")
    print(flush=True)
