"""A benchmark whose process ended reports no figure."""

import subprocess
import sys

import pytest

from benchmarks.harness.processes import expect_alive
from cluster.errors import ClusterError
from cluster.processes.run_file import record_of


def test_a_run_in_which_a_server_ended_has_no_figures() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        record = record_of(process.pid, role="server", name="nats")
        assert record is not None
        expect_alive([record])
        process.kill()
        process.wait()
        with pytest.raises(ClusterError, match=rf"nats \(process {process.pid}\) ended"):
            expect_alive([record])
