"""The entry point of the command.

Until a command has something to stop (`cluster.running.stopping`), Ctrl-C ends the process at once.
Python would raise KeyboardInterrupt instead, mostly in the midst of an import, where it prints a
traceback or is lost.
"""

import signal
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from cluster.command_line.cli import main as run

    run()
