"""The table of roles in the protocol's page is what a running server allows, no more, no less."""

import asyncio
import re
from pathlib import Path

import pytest

from actors.errors import OperatingError, PermanentError
from gateways.nats.connection import NatsConnection
from tests.faults.adversarial.nats_accounts import AccountsServer, watched

pytestmark = pytest.mark.real

PAGE = Path(__file__).parents[3] / "gateways/protocol/connect.md"
ROW = re.compile(r"\| `([\w<>]+)` \| `([\w<>]+)` \|(.*?)\|(.*?)\|")
BROKER = "acme"


def table() -> dict[str, tuple[str, list[str], list[str]]]:
    """Read the page. Returns: by role, its account, what it may publish, what it may receive."""
    section = PAGE.read_text().partition("## Roles")[2].partition("\n## ")[0]
    found = {}
    for role, account, publish, receive in ROW.findall(section):
        named = [re.findall(r"`([^`]+)`", cell) for cell in (publish, receive)]
        role, account = (text.replace("<name>", BROKER) for text in (role, account))
        found[role] = (
            account,
            *([each.replace("<name>", BROKER) for each in cell] for cell in named),
        )
    return found


def example(subject: str) -> str:
    """Return a subject that fits a filter."""
    return subject.replace("*", "x").replace(">", "x.y")


async def may_publish(connection: NatsConnection, subject: str) -> bool:
    """Return whether the server takes a request, whether or not anybody answers it."""
    try:
        await connection.request(subject, b"{}", deadline_s=2.0)
    except PermanentError as error:
        return "may not publish" not in str(error)
    except OperatingError:
        return True
    return True


async def may_receive(
    connection: NatsConnection, subject_filter: str, sender: NatsConnection
) -> bool:
    """Return whether the server delivers what fits a filter, sent in the account of the role."""
    heard = asyncio.Event()
    await connection.subscribe(subject_filter, lambda *_: heard.set())
    await connection.confirm()
    await sender.publish(example(subject_filter), b"{}")
    await sender.confirm()
    await connection.confirm()
    return heard.is_set()


def test_the_table_names_every_role(tmp_path: Path) -> None:
    credentials = AccountsServer(tmp_path).credentials
    assert set(table()) == {role for role in credentials.users if role != "broker_zenith"}


@pytest.mark.parametrize("role", [role for role in table() if role != "engine"])
async def test_a_role_may_do_what_its_row_says_and_nothing_of_the_others(
    tmp_path: Path, role: str
) -> None:
    rows = table()
    account, publish, receive = rows[role]
    published = {example(each) for row in rows.values() for each in row[1] if each != ">"}
    received = {each for row in rows.values() for each in row[2] if each != ">"}
    with AccountsServer(tmp_path) as server:
        async with watched(server) as seen:
            connection, witness = seen.roles[role], seen.witnesses[account]
            for subject in published:
                expected = subject in map(example, publish)
                assert await may_publish(connection, subject) == expected, subject
            for subject_filter in received:
                expected = subject_filter in receive
                found = await may_receive(connection, subject_filter, witness)
                assert found == expected, subject_filter
