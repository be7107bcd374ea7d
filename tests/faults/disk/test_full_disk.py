"""A disk that is full heals by itself. The disk is a small tmpfs in a mount namespace, which goes
with its process.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.real, pytest.mark.kill]

ROOT = Path(__file__).parents[3]
SCENARIO = "tests.faults.disk.full_disk"
S_MAX = 420.0
DISK = "size=600m,mode=755"
MOUNT = 'mount -t tmpfs -o "$1" tmpfs "$2" && shift 2 && exec "$@"'


def on_a_small_disk(directory: Path, *command: str) -> list[str]:
    """Return a command that runs another with a small disk mounted at a directory. A user who is
    not root mounts as the root of a user namespace, and is himself again in one within it.
    """
    is_root = os.getuid() == 0
    within = [f"--map-user={os.getuid()}", f"--map-group={os.getgid()}"]
    return [
        *("unshare", "--mount", *(() if is_root else ("--map-root-user",))),
        *("sh", "-c", MOUNT, "mount", DISK, str(directory)),
        *(() if is_root else ("unshare", "--user", *within)),
        *command,
    ]


def test_a_full_disk_is_told_and_heals_once_there_is_room_and_nothing_is_lost(
    tmp_path: Path,
) -> None:
    tmp_path.chmod(0o755)
    ran = subprocess.run(
        on_a_small_disk(tmp_path, sys.executable, "-m", SCENARIO, str(tmp_path)),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=S_MAX,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    assert "audit passed" in ran.stdout
