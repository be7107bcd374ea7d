"""The audit holds all of INGRESS against the creators' journals, both ways (P4)."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actors.ports import INGRESS, StoredMessage
from cluster.audit import AuditReport, audit
from engine.columns.section_types import column_of
from engine.journal.events.creator import FillApplied
from engine.journal.events.shard import InputsRefused
from engine.journal.frame import decode_frame
from gateways.memory.streams import MemoryStreams
from tests.audit.planting import CREATOR, Recording


class Holed(MemoryStreams):
    """A stream without some of its messages, as one that an operator purged, or damaged."""

    def __init__(self, recording: Recording, gone: set[int]) -> None:
        super().__init__(recording.server)
        self._gone = gone

    async def read(
        self, stream: str, *, after_sequence: int, bytes_max: int = 16 << 20
    ) -> list[StoredMessage]:
        """Read as the whole stream, without what is gone."""
        found = await super().read(stream, after_sequence=after_sequence, bytes_max=bytes_max)
        return [message for message in found if message.sequence not in self._gone]


def fill_messages(recording: Recording) -> list[StoredMessage]:
    """The messages with applied fills, but the one that the newest cursor names."""
    messages = recording.server.stream(INGRESS).messages[:-1]
    return [message for message in messages if message.subject.startswith("fills.")]


def change(recording: Recording, message: StoredMessage, **changed: Any) -> None:
    """Put another message in the place of one."""
    recording.server.stream(INGRESS).messages[message.sequence - 1] = message._replace(**changed)


def with_field(message: StoredMessage, name: str, value: object) -> bytes:
    body = json.loads(message.data)
    (body[0] if isinstance(body, list) else body)[name] = value
    return json.dumps(body).encode()


async def holed(recording: Recording, directory: Path, gone: set[int]) -> AuditReport:
    store = recording.store(directory)._replace(streams=Holed(recording, gone))
    return await audit(store, is_drained=True)


async def test_p4_every_input_is_read_and_passes(recording: Recording, tmp_path: Path) -> None:
    report = await recording.audit(tmp_path)
    assert report.passed, "\n".join(report.lines())
    counts = report["P4"].counts
    assert counts["inputs"] == len(recording.server.stream(INGRESS).messages)
    assert counts["inputs_purged"] == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("last_qty", "0.5"),
        ("last_px", "1234.5"),
        ("side", "sell"),
        ("symbol", "OTHER"),
        ("transact_time", "2026-01-05T20:30:00Z"),
        ("order_id", "another"),
    ],
)
async def test_p4_a_fill_that_was_changed_is_named(
    recording: Recording, tmp_path: Path, name: str, value: str
) -> None:
    message = fill_messages(recording)[0]
    change(recording, message, data=with_field(message, name, value))
    report = await recording.audit(tmp_path)
    assert [check.promise for check in report.checks if not check.passed] == ["P4"]
    assert f"expected {name} " in report["P4"].offender
    assert f"in message {message.sequence} of INGRESS" in report["P4"].offender


@pytest.mark.parametrize(
    "changed",
    [
        lambda message: {"data": with_field(message, "exec_id", "another")},
        lambda message: {"data": b"{}"},
        lambda message: {"data": b"{}", "subject": "fills.paper.nobody"},
        lambda message: {"data": b"[]", "subject": "marks.paper"},
    ],
)
async def test_p4_an_applied_fill_that_stands_nowhere_is_named(
    recording: Recording,
    tmp_path: Path,
    changed: Callable[[StoredMessage], dict[str, Any]],
) -> None:
    message = fill_messages(recording)[0]
    change(recording, message, **changed(message))
    report = await recording.audit(tmp_path)
    assert not report["P4"].passed
    assert report["P4"].faults >= 2, "the message became nothing, and the fill came from nowhere"


def without_fill(
    recording: Recording, message: StoredMessage, *, is_refused: bool
) -> Callable[[Any, list[Any]], list[Any]]:
    """Drop a message's fill from the journal, as if it had never been taken, or was refused."""
    exec_id = json.loads(message.data)["exec_id"]
    told = InputsRefused(column_of(message.sequence), [message.subject], ["time: old"], [exec_id])

    def change(header: Any, events: list[Any]) -> list[Any]:
        out: list[Any] = []
        for event in events:
            if not (isinstance(event, FillApplied) and event.exec_id == exec_id):
                out.append(event)
            elif is_refused:
                out.append(told)
        return out

    return change


async def test_p4_a_message_that_became_nothing_is_named(
    recording: Recording, recorded: Recording, tmp_path: Path
) -> None:
    message = fill_messages(recording)[-1]
    recording.rewrite(CREATOR, without_fill(recording, message, is_refused=False))
    expected = (
        f"expected message {message.sequence} of INGRESS, on {message.subject}, applied or refused"
    )
    report = await recording.audit(tmp_path)
    assert expected in report["P4"].offender
    refused = recorded.copy()
    refused.rewrite(CREATOR, without_fill(refused, message, is_refused=True))
    assert expected not in (await refused.audit(tmp_path))["P4"].offender


async def test_p4_a_hole_in_the_midst_is_named_and_a_purged_beginning_is_counted(
    recording: Recording, tmp_path: Path
) -> None:
    messages = recording.server.stream(INGRESS).messages
    middle = fill_messages(recording)[1].sequence
    report = await holed(recording, tmp_path, {middle})
    assert f"expected message {middle}, found none before {middle + 1}" in report["P4"].offender
    first_kept = len(messages) // 2
    report = await holed(recording, tmp_path, set(range(1, first_kept)))
    assert report["P4"].passed, report["P4"].offender
    applied = [
        event
        for event in (
            each for message in recording.frames(CREATOR) for each in decoded(message.data)
        )
        if isinstance(event, FillApplied)
    ]
    purged = sum(event.sequence < first_kept for event in applied)
    assert report["P4"].counts["inputs_purged"] == purged > 0


def decoded(data: bytes) -> list[Any]:
    return decode_frame(data)[1]


async def test_p4_a_stream_that_is_gone_has_lost_every_fill(
    recording: Recording, tmp_path: Path
) -> None:
    report = await holed(recording, tmp_path, set(range(1, 10_000)))
    assert "expected fill " in report["P4"].offender
