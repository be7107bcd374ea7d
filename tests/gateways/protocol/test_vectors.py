"""The vectors on disk are what the engine writes and reads, and what is refused."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from actors.errors import BadInputError
from engine.columns.sections import UnknownSection
from engine.messages.blocks import BLOCK_TYPES, OrdersKnown, RefusalCode, decode_block
from gateways.brokers.ledger.ledger import MemoryLedger
from gateways.brokers.paper.settings import FillSettings
from gateways.json.format import JsonFormat
from tests.gateways.brokers.builders import EVENT_TIME, answer, paper_core
from tests.gateways.protocol.vectors import DIRECTORY, files, readable

VECTORS = [
    pytest.param(vector, id=f"{path.stem}: {vector['name']}")
    for path in sorted(DIRECTORY.glob("*.json"))
    if path.stem not in ("refused", "conversations")
    for vector in json.loads(path.read_text())
]
REFUSED = json.loads((DIRECTORY / "refused.json").read_text())
CONVERSATIONS = json.loads((DIRECTORY / "conversations.json").read_text())
PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)


def test_the_files_are_what_the_engine_writes() -> None:
    on_disk = {path.name: path.read_bytes() for path in DIRECTORY.glob("*.json")}
    assert on_disk == files(), "run python -m tests.gateways.protocol.vectors, and look at the diff"


def test_every_section_has_a_plain_and_a_packed_vector() -> None:
    for tag, section_type in BLOCK_TYPES.items():
        found = json.loads((DIRECTORY / f"{tag}-{section_type.__name__}.json").read_text())
        flags = {bytes.fromhex(vector["hex"])[8] & 2 for vector in found}
        assert flags == {0, 2}, section_type


@pytest.mark.parametrize("vector", VECTORS)
def test_a_vector_decodes_to_its_fields(vector: dict[str, Any]) -> None:
    found = decode_block(bytes.fromhex(vector["hex"]))
    known = [each for each in found if not isinstance(each, UnknownSection)]
    assert [readable(each) for each in known] == vector["sections"]


@pytest.mark.parametrize("wrong", REFUSED, ids=lambda wrong: f"{wrong['reader']}: {wrong['name']}")
def test_a_wrong_block_is_refused_as_the_vectors_say(wrong: dict[str, str]) -> None:
    data = bytes.fromhex(wrong["hex"])
    if wrong["reader"] == "lockstep":
        with pytest.raises(BadInputError) as refused:
            list(JsonFormat().reports("executions.acme.0", data))
        assert refused.value.reason == wrong["refusal"]
    else:
        answered = answer(paper_core(MemoryLedger()).take(data, EVENT_TIME))
        assert RefusalCode(answered.code).name == wrong["refusal"]
        assert answered.refusal
        assert (answered.accepted, answered.repeated) == (0, 0)


@pytest.mark.parametrize("report", [105, 110])
def test_lockstep_takes_every_report_of_the_vectors(report: int) -> None:
    vectors = json.loads(next(DIRECTORY.glob(f"{report}-*.json")).read_text())
    alone = [each for each in vectors if len(each["sections"]) == 1]
    assert alone
    for vector in alone:
        subject = f"executions.acme.{vector['sections'][0]['follower_shard']}"
        assert JsonFormat().reports(subject, bytes.fromhex(vector["hex"])), vector["name"]


@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=lambda each: each["name"])
def test_a_broker_program_answers_a_conversation_as_the_vectors_say(
    conversation: dict[str, Any],
) -> None:
    settings = FillSettings(order_ids=conversation["order_ids"])
    core = paper_core(MemoryLedger(), settings)
    for block in conversation["blocks"]:
        first, *rest = decode_block(core.take(bytes.fromhex(block["hex"]), EVENT_TIME))
        known = [each.subscriptions.tolist() for each in rest if isinstance(each, OrdersKnown)]
        found = {
            "accepted": first.accepted,
            "repeated": first.repeated,
            "code": first.code,
            "known": known,
        }
        assert found == block["answer"], (block["name"], first.refusal)


def test_every_code_of_a_refusal_has_a_vector() -> None:
    codes = {block["answer"]["code"] for each in CONVERSATIONS for block in each["blocks"]}
    assert codes == {code.value for code in RefusalCode} - {RefusalCode.NOT_STATED}


def test_the_page_s_reader_needs_python_alone_and_reads_every_plain_vector(tmp_path: Path) -> None:
    [code] = PYTHON.findall((DIRECTORY / "README.md").read_text())
    (tmp_path / "reader.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "-I", str(tmp_path / "reader.py")],
        cwd=DIRECTORY,
        capture_output=True,
        text=True,
        check=True,
    )
    plain = sum(
        not bytes.fromhex(vector["hex"])[8] & 2
        for path in DIRECTORY.glob("1*.json")
        for vector in json.loads(path.read_text())
    )
    assert done.stdout == f"{plain} vectors read\n"
