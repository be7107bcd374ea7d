"""An audit with its columns in files leaves none of the files behind.

Every planted fault is also audited that way and must give the same report
(`planting.Recording.audit`).
"""

import gc
from pathlib import Path

import pytest

from actors.errors import TransientError
from actors.ports import StoredMessage
from cluster.audit import audit
from gateways.memory.streams import MemoryStreams
from gateways.spill import Spill
from tests.audit.planting import Recording
from tests.gateways.mapped_files import mapped_below


async def test_files_are_gone_after_an_audit(recording: Recording, tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    report = await audit(recording.store(tmp_path), storage=Spill(files, bytes_in_memory=0))
    assert report.passed, "\n".join(report.lines())
    assert list(files.iterdir()) == []
    gc.collect()
    assert mapped_below(files) == 0


async def test_files_are_gone_after_an_audit_that_cannot_go_on(
    recording: Recording, tmp_path: Path
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    mapped = 0

    class Lost(MemoryStreams):
        async def last_message(self, stream: str, subject: str) -> StoredMessage | None:
            nonlocal mapped
            mapped = mapped_below(files)
            raise TransientError("executions: expected an answer, found none")

    store = recording.store(tmp_path)._replace(streams=Lost(recording.server))
    with pytest.raises(TransientError):
        await audit(store, storage=Spill(files, bytes_in_memory=0))
    assert mapped > 0
    assert list(files.iterdir()) == []
    gc.collect()
    assert mapped_below(files) == 0
