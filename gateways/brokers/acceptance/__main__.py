"""`python -m gateways.brokers.acceptance`: run the suite against one broker program.

Prints one line per rule, and for a rule that was broken what was expected and found. Exit code 0:
no rule was broken; 1: one was; 2: the suite could not begin or go on.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from actors.errors import OperatingError
from engine.values.units import UnitError, price_micros
from gateways.brokers.acceptance.bench import SuiteOptions
from gateways.brokers.acceptance.formats import ALL_FORMATS
from gateways.brokers.acceptance.nats_program import ProgramProcess
from gateways.brokers.acceptance.rules.rule import ALL_CLASSES
from gateways.brokers.acceptance.running import run_suite
from gateways.nats.connection import NatsConnectionOptions


def main(arguments: list[str] | None = None) -> int:
    """Run. Returns: the exit code."""
    given = _parser().parse_args(arguments)
    log = given.log or Path(tempfile.mkdtemp(prefix="acceptance-")) / "program.log"
    try:
        return asyncio.run(_run(given, log))
    except (OperatingError, OSError) as error:
        print(f"acceptance: {error}", file=sys.stderr, flush=True)
        return 2


async def _run(given: argparse.Namespace, log: Path) -> int:
    process = ProgramProcess(given.start, log) if given.start else None
    nats = NatsConnectionOptions(
        url=given.nats,
        user=given.user,
        password=given.password,
        inbox_prefix=given.inbox_prefix,
        name="acceptance",
    )
    if process is not None:
        print(f"output of the program: {log}")
    return await run_suite(nats, given.broker, process, _options(given), _print)


def _print(line: str) -> None:
    print(line, flush=True)


def _price(text: str) -> int:
    try:
        return price_micros(text, "--price")
    except UnitError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _options(given: argparse.Namespace) -> SuiteOptions:
    return SuiteOptions(
        order_ids=given.order_ids,
        format=given.format,
        symbol=given.symbol,
        price=given.price,
        answer_s=given.answer_s,
        lifetime_s=given.lifetime_s,
        settle_s=given.settle_s,
        start_s=given.start_s,
        kills=given.kills,
        seed=given.seed,
    )


def _parser() -> argparse.ArgumentParser:
    usual = SuiteOptions()
    parser = argparse.ArgumentParser(
        prog="python -m gateways.brokers.acceptance",
        description="Checks a broker program against the broker protocol. Use a nats-server and a "
        "ledger that nothing else uses.",
    )
    add = parser.add_argument
    add("--nats", required=True, metavar="URL", help="nats-server with JetStream, max_payload 8 MB")
    add("--user", default="", help="a user that may do everything there, as a gateway")
    add("--password", default="", help="its password")
    add("--inbox-prefix", default="_INBOX", help="first tokens of its inboxes")
    add("--broker", required=True, metavar="NAME", help="the program's broker name")
    add("--start", metavar="COMMAND", help="starts the program; killed and started again")
    add("--log", type=Path, metavar="FILE", help="where the program's output goes")
    add("--order-ids", choices=ALL_CLASSES, default=usual.order_ids, help="as in the configuration")
    add("--format", choices=ALL_FORMATS, default=usual.format, help="as in the configuration")
    add("--symbol", default=usual.symbol, help="an instrument that the program can order")
    add("--price", type=_price, default=usual.price, help="the mark of its orders, decimal")
    add("--answer-s", type=float, default=usual.answer_s, help="seconds an answer may take")
    add("--lifetime-s", type=float, default=usual.lifetime_s, help="seconds until orders expire")
    add("--settle-s", type=float, default=usual.settle_s, help="seconds their end may take beyond")
    add("--start-s", type=float, default=usual.start_s, help="seconds a start may take")
    add("--kills", type=int, default=usual.kills, help="how often the rules about restarts kill")
    add("--seed", type=int, default=usual.seed, help="changes the moments of the kills")
    return parser


if __name__ == "__main__":
    sys.exit(main())
