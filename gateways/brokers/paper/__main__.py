"""`python -m gateways.brokers.paper --config FILE`: one paper broker until SIGTERM; exit 1 with one
line when it cannot go on.
"""

import argparse
import asyncio
import logging
import sys
from pathlib import Path

import uvloop

from actors.errors import OperatingError
from actors.host.garbage_collection import collecting_rarely
from gateways.brokers.ledger.records import LedgerError
from gateways.brokers.paper.server import serve
from gateways.brokers.paper.settings import PaperBrokerConfig, load_config
from gateways.brokers.program.settings import SettingsError

_EXPECTED = (SettingsError, LedgerError, OperatingError)


def main() -> int:
    """Run. Returns: the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m gateways.brokers.paper", description="The paper broker."
    )
    parser.add_argument(
        "--config",
        type=Path,
        required=True,
        help="JSON file, see gateways/brokers/paper/settings.py",
    )
    path = parser.parse_args().config
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(load_config(path)))
    except _EXPECTED as error:
        return _failed(error)
    except ExceptionGroup as group:
        expected, others = group.split(_EXPECTED)
        if expected is None or others is not None:
            raise
        return _failed(expected)
    return 0


async def _serve(config: PaperBrokerConfig) -> None:
    async with collecting_rarely():
        await serve(config)


def _failed(error: BaseException) -> int:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    print(f"paper broker: {error}", file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
