"""A command that is told to stop, once or many times, finishes its work and ends with its own exit
code.
"""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[3]

# Once stopped it says so, tidies up for a moment, and lingers in the end, as an interpreter that
# closes does.
COMMAND = """
import asyncio, sys, time
from cluster.running.stopping import run_until_stopped
async def work():
    print("running", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        print("tidying", flush=True)
        for _ in range(20):
            await asyncio.sleep(0.01)
        print("tidied", flush=True)
status = run_until_stopped(work(), stopped=lambda: 7)
print("over", flush=True)
time.sleep(0.3)
sys.exit(status)
"""


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_after_the_first_change_nothing_up_to_the_end_of_the_process(
    first: signal.Signals,
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        process.send_signal(first)
        deadline = time.monotonic() + 60
        while process.poll() is None:
            assert time.monotonic() < deadline, "it did not end"
            for number in (signal.SIGINT, signal.SIGTERM):
                process.send_signal(number)
            time.sleep(0.002)
        assert process.stdout.read() == "tidying\ntidied\nover\n"
        assert process.returncode == 7
    finally:
        process.kill()
        process.communicate()
