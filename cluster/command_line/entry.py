"""Where the command begins. Until a command has something to stop (`cluster.running.stopping`),
Ctrl-C ends the process at once: Python would raise wherever it is, mostly in the midst of an
import, where it is a traceback or is lost.
"""

import signal
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from cluster.command_line.cli import main as run

    run()
