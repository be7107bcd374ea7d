"""The record of a cluster's processes, and the lock on its directory."""

import os
from pathlib import Path

import msgspec
import pytest

from cluster.errors import ClusterError, UsageError
from cluster.processes.run_file import DirectoryLock, read_run, record_of


def test_start_mark_tells_a_process_from_another_of_its_id() -> None:
    mine = record_of(os.getpid(), role="server", name="me")
    assert mine is not None
    assert mine.is_alive()
    assert not msgspec.structs.replace(mine, started="another-boot/1").is_alive()
    assert record_of(2**22 + 1, role="server", name="nobody") is None


def test_broken_run_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(ClusterError, match="`lockstep down` ends what still runs of it"):
        read_run(tmp_path)
    assert read_run(tmp_path / "absent") is None


def test_data_directory_has_one_supervisor(tmp_path: Path) -> None:
    first, second = DirectoryLock(tmp_path), DirectoryLock(tmp_path)
    first.acquire()
    with pytest.raises(UsageError, match="found it running"):
        second.acquire()
    first.release()
    second.acquire()
    second.release()
