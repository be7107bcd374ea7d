"""The audit names streams that are older copies than the journals: P4."""

from pathlib import Path

import pytest

from tests.audit.planting import Recording

STREAMS = ("INGRESS", "EXECUTIONS")


@pytest.mark.parametrize("stream", STREAMS)
async def test_p4_a_stream_that_lost_its_end_is_named(
    recording: Recording, tmp_path: Path, stream: str
) -> None:
    held = recording.server.stream(stream)
    held.lose_end(len(held.messages) - 2)
    report = await recording.audit(tmp_path)
    assert f"expected {stream} to hold the message at sequence" in report["P4"].offender
    assert "the stream lost its end" in report["P4"].offender


@pytest.mark.parametrize("stream", STREAMS)
async def test_p4_sequences_that_were_used_again_are_named(
    recording: Recording, tmp_path: Path, stream: str
) -> None:
    messages = recording.server.stream(stream).messages
    messages[-2:] = [message._replace(data=message.data + b" ") for message in messages[-2:]]
    report = await recording.audit(tmp_path)
    assert "the stream is an older copy" in report["P4"].offender
    assert stream in report["P4"].offender


async def test_p4_whole_streams_are_counted_and_pass(recording: Recording, tmp_path: Path) -> None:
    report = await recording.audit(tmp_path)
    assert report.passed
    assert report["P4"].counts["inputs_named"] >= 3
