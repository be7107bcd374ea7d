"""The command before any of its work: Ctrl-C while it is read in, streams that are closed."""

import os
import signal
import subprocess
import sys

import pytest

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


CLOSED = """
import os, sys
from cluster.command_line.entry import main

class Told:
    def find_spec(self, name, path=None, target=None):
        if name == "cluster.command_line.cli":
            opened = os.open(os.devnull, os.O_RDONLY)
            assert opened > 2 and os.get_inheritable(2), opened
            print("one", file=sys.stderr, flush=True)
            os.write(int(sys.argv[1]), b"went on")
            os._exit(0)

sys.meta_path.insert(0, Told())
main()
"""


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_a_stream_that_the_caller_has_closed_is_nobody_elses(closed: tuple[int, ...]) -> None:
    reading, writing = os.pipe()
    redirects = " ".join(f"{number}>&-" for number in closed)
    subprocess.run(
        ["/bin/sh", "-c", f'exec "$0" -c "$1" {writing} {redirects}', sys.executable, CLOSED],
        pass_fds=[writing],
        check=True,
    )
    os.close(writing)
    with os.fdopen(reading, "rb") as said:
        assert said.read() == b"went on"
