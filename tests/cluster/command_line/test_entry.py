"""Ctrl-C while the command is still being read in."""

import signal
import subprocess
import sys

INTERRUPTED = """
import os, signal, sys
from cluster.command_line.entry import main

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "cluster.command_line.cli":
            os.kill(os.getpid(), signal.SIGINT)
            print("still here", flush=True)

sys.meta_path.insert(0, Interrupting())
main()
"""


def test_ctrl_c_in_an_import_ends_the_command_without_a_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")
