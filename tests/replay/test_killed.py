"""A replay goes on where it was when parts of its cluster are killed under it, and ends with the
same result.
"""

import contextlib
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.replay.expected import InputFiles
from tests.replay.runs import LOCKSTEP, arguments, check
from tests.replay.test_example import FILES

PARTS = (
    "nats-server",
    "gateways.brokers.paper",
    "ray::CreatorActor.run",
    "ray::FollowerActor.run",
    "ray::BrokerGatewayActor.run",
)
"""An actor that runs a host says so in its name; a spare one does not."""


@pytest.mark.real
@pytest.mark.kill
def test_a_replay_whose_parts_are_killed_agrees_with_the_auditor(tmp_path: Path) -> None:
    """P1 to P8 and P10: NATS, the broker and one actor of each kind are killed at once while fills
    go out.
    """
    killed = _replay_killing(PARTS, FILES, tmp_path / "out")
    assert killed == set(PARTS)
    check(FILES, tmp_path / "out")


def _replay_killing(parts: tuple[str, ...], files: InputFiles, out: Path) -> set[str]:
    """Run a replay and kill one process of each part once fills go out. Returns: the parts that
    were found.
    """
    command = [*LOCKSTEP, *arguments(files, out)]
    killed: set[str] = set()
    told: list[str] = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            told.append(line)
            if "publishing" in line:
                killed = _kill_one_each(psutil.Process(process.pid), parts)
    assert process.returncode == 0, "".join(told)
    return killed


def _kill_one_each(parent: psutil.Process, parts: tuple[str, ...]) -> set[str]:
    killed: set[str] = set()
    for child in parent.children(recursive=True):
        # Children come and go on their own, and with those already killed.
        with contextlib.suppress(psutil.NoSuchProcess):
            name = " ".join(child.cmdline())
            for part in parts:
                if part in name and part not in killed:
                    child.kill()
                    killed.add(part)
    return killed
