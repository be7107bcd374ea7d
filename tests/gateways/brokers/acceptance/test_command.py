"""The suite as a command, against the processes of the paper broker and of the example that takes
JSON, on a real nats-server.
"""

import asyncio
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from actors.errors import OperatingError
from gateways.brokers.acceptance.nats_program import open_program
from gateways.brokers.acceptance.rules.rule import ALL_CLASSES
from gateways.nats.connection import NatsConnectionOptions, connect_nats
from gateways.nats.streams import NatsStreams
from tests.servers import ENGINE_USER, PASSWORD, NatsServer

pytestmark = pytest.mark.real
ROOT = Path(__file__).parents[4]


def paper(directory: Path, url: str, **settings: Any) -> str:
    """The command that starts a paper broker."""
    config = directory / "broker.json"
    fields = {
        "name": "acme",
        "ledger_dir": str(directory / "ledger"),
        "nats_url": url,
        "user": "broker_acme",
        "password": PASSWORD,
        "inbox_prefix": "_INBOX_acme",
    }
    config.write_text(json.dumps(fields | settings))
    return shlex.join([sys.executable, "-m", "gateways.brokers.paper", "--config", str(config)])


async def run(url: str, *arguments: str, password: str = PASSWORD) -> tuple[int, list[str]]:
    """Run the suite. Returns: its exit code and its lines."""
    command = [sys.executable, "-m", "gateways.brokers.acceptance", "--broker", "acme"]
    command += ["--nats", url, "--user", ENGINE_USER, "--password", password, "--kills", "3"]
    done = await asyncio.to_thread(
        subprocess.run,
        [*command, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
    )
    return done.returncode, done.stdout.splitlines()


@pytest.mark.parametrize(
    "settings",
    [
        {"fill_delay_ms": 15, "partial_fill_slices": 3, "reject_every_n": 7},
        {"order_ids": "looked_up", "duplicate_executions": True, "execute_before_reply": True},
    ],
    ids=lambda settings: settings.get("order_ids", "refused"),
)
async def test_the_paper_broker_passes(
    own_nats_server: NatsServer, tmp_path: Path, settings: dict[str, Any]
) -> None:
    url, order_ids = own_nats_server.url, settings.get("order_ids", "refused")
    start = paper(tmp_path, url, **settings)
    code, lines = await run(url, "--order-ids", order_ids, "--start", start)
    assert [line for line in lines if line.startswith("FAILED")] == []
    assert code == 0, "\n".join(lines)
    left = [line for line in lines if line.startswith("not run")]
    assert all(f"(order_ids is {order_ids})" in line for line in left)


@pytest.mark.parametrize("order_ids", ALL_CLASSES)
async def test_the_example_that_takes_json_passes(
    own_nats_server: NatsServer, tmp_path: Path, order_ids: str
) -> None:
    url = own_nats_server.url
    credentials = tmp_path / "credentials.json"
    user = {"user": "broker_acme", "password": PASSWORD, "inbox_prefix": "_INBOX_acme"}
    credentials.write_text(json.dumps({"nats_url": url, "users": {"broker_acme": user}}))
    command = [sys.executable, str(ROOT / "examples" / "json_broker.py"), "--name", "acme"]
    command += ["--credentials", str(credentials), "--ledger", str(tmp_path / "acme.sqlite")]
    options = ["--format", "json", "--order-ids", order_ids, "--start", shlex.join(command)]
    code, lines = await run(url, *options)
    assert [line for line in lines if line.startswith("FAILED")] == []
    assert code == 0, "\n".join(lines)
    left = [line for line in lines if line.startswith("not run")]
    assert all(f"(order_ids is {order_ids})" in line for line in left)


async def test_a_program_that_never_answers_is_told_with_what_was_expected(
    own_nats_server: NatsServer,
) -> None:
    code, lines = await run(
        own_nats_server.url, "--start", "true", "--start-s", "0.3", "--answer-s", "0.2"
    )
    assert code == 1
    assert lines[2].strip() == (
        "expected: an answer to a block of a GatewayEpoch alone within 0.3 s"
    )
    assert lines[-1].startswith("0 passed, 1 FAILED, ")


async def test_a_stream_that_a_killed_suite_held_takes_messages_again(
    own_nats_server: NatsServer,
) -> None:
    options = NatsConnectionOptions(url=own_nats_server.url, user=ENGINE_USER, password=PASSWORD)
    connection = await connect_nats(options)
    streams = NatsStreams(connection)
    for messages in (0, 1):
        killed = await open_program(options, "acme")
        await killed.hold()
        with pytest.raises(OperatingError):
            await streams.publish("executions.acme.0", b"[]", message_id=f"held {messages}")
        await killed.close()
        following = await open_program(options, "acme")
        await streams.publish("executions.acme.0", b"[]", message_id=f"taken {messages}")
        assert len(await following.stored()) == 1
        await following.close()
    await connection.close()


async def test_a_failure_before_the_first_rule_ends_with_one_line(
    nats_server: NatsServer,
) -> None:
    code, lines = await run(nats_server.url, password="wrong")
    assert code == 2
    assert lines == [
        f"acceptance: connect: {nats_server.url} refused user 'engine'; check the credentials file"
    ]
