"""Running `lockstep` as its users do, and checking what a replay wrote against the auditor."""

import subprocess
import sys
from pathlib import Path

from tests.replay.compare import compare
from tests.replay.expected import Expected, InputFiles, expect

LOCKSTEP = (sys.executable, "-c", "from cluster.command_line.entry import main; main()")


def lockstep(*arguments: str | Path, limit_s: float = 180.0) -> "subprocess.CompletedProcess[str]":
    """Run the command line to its end."""
    command = [*LOCKSTEP, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)


def arguments(files: InputFiles, out: Path) -> list[str]:
    """Write the arguments of `lockstep replay`."""
    given = [
        ("--creators", files.creators),
        ("--followers", files.followers),
        ("--fills", files.fills),
        ("--out", out),
    ]
    given += [
        (name, path)
        for name, path in (("--prices", files.prices), ("--instruments", files.instruments))
        if path
    ]
    return ["replay", *(str(part) for pair in given for part in pair)]


def replay(files: InputFiles, out: Path) -> "subprocess.CompletedProcess[str]":
    """Run `lockstep replay`."""
    return lockstep(*arguments(files, out))


def check(files: InputFiles, out: Path) -> Expected:
    """Compare everything with the auditor, then audit the stopped data directory again."""
    expected = expect(files)
    compare(out, expected)
    audited = lockstep("audit", "--data", out / "data")
    assert audited.returncode == 0, audited.stdout + audited.stderr
    return expected
