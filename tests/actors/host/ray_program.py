"""Programs that tests run on a Ray of their own, in a process of their own."""

import os
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[3]


def printed(module: str, *arguments: str) -> str:
    """Run a module with a directory for its Ray as first argument. Returns: the last line that it
    printed, before which Ray may have remarked on something.
    """
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
            [sys.executable, "-m", module, directory, *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]
