"""Spare hosts, on a real Ray."""

import os
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[3]


def test_a_spare_takes_the_place_of_a_killed_host() -> None:
    """P10: what a process's start costs is paid before it is needed."""
    # Short, for the sockets that Ray puts below it.
    with tempfile.TemporaryDirectory(prefix="ls-") as directory:
        token = Path(directory) / "token"
        token.write_text(secrets.token_hex(16))
        environment = {
            **os.environ,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
        }
        done = subprocess.run(
            [sys.executable, "-m", "tests.actors.host.spare_hosts", directory],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    # Ray remarks on the death before that.
    killed, spare, successor = map(int, done.stdout.splitlines()[-1].split())
    assert successor == spare != killed
