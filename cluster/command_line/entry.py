"""The entry point of the command.

Until a command has something to stop (`cluster.running.stopping`), Ctrl-C ends the process at once.
Python would raise KeyboardInterrupt instead, mostly in the midst of an import, where it prints a
traceback or is lost.
"""

import os
import signal
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    _open_closed_streams()
    from cluster.command_line.cli import main as run

    run()


def _open_closed_streams() -> None:
    """Open the standard streams that the caller has closed, on nothing. Otherwise the next file or
    socket gets the number of one, and every print goes into it.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115
