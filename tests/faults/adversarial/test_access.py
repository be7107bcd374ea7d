"""Attacks on NATS by every role, on a real server with the real configuration: every subject as the
subject of a message, as its reply subject, and as a subscription (P3, P5).

What each role may do stands here in the tests' own words; `cluster.config.roles` is not asked.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.errors import OperatingError
from cluster.running.wiring import STREAMS
from engine.journal.frame import ShardKey, ShardKind
from gateways.nats.journal import NatsJournal
from gateways.nats.streams import NatsStreams
from gateways.nats.subjects import matches
from tests.faults.adversarial.nats_accounts import (
    ANSWER,
    SETTLED,
    AccountsServer,
    Arrival,
    Watched,
    watched,
)

pytestmark = pytest.mark.real

ACCOUNTS = {
    "operator": "OPERATORS",
    "auditor": "AUDITORS",
    "market_data": "MARKET_DATA",
    "broker_acme": "BROKER_acme",
    "broker_zenith": "BROKER_zenith",
}
READS: dict[str, dict[str, object]] = {
    "$JS.API.INFO": {},
    "$JS.API.STREAM.INFO.INGRESS": {},
    "$JS.API.STREAM.NAMES": {},
    "$JS.API.STREAM.LIST": {},
    "$JS.API.STREAM.MSG.GET.JOURNAL_FOLLOWER": {"seq": 1},
    "$JS.API.DIRECT.GET.JOURNAL_FOLLOWER": {"seq": 1},
    "$JS.API.DIRECT.GET.JOURNAL_FOLLOWER.journal.follower.0": {},
}
PASSES: dict[str, dict[str, str]] = {
    "operator": {
        "commands.bulk": "ENGINE",
        "commands.creator.nancy": "ENGINE",
        "commands.account.a": "ENGINE",
        "shards.follower.0.inspect": "ENGINE",
        "broker.acme.corrections": "BROKER_acme",
        "broker.zenith.corrections": "BROKER_zenith",
    },
    "auditor": {"shards.follower.0.inspect": "ENGINE", **dict.fromkeys(READS, "ENGINE")},
    "market_data": {"marks.market_data": "ENGINE"},
    "broker_acme": {
        "fills.acme.nancy": "ENGINE",
        "marks.acme": "ENGINE",
        "executions.acme.0": "ENGINE",
    },
    "broker_zenith": {
        "fills.zenith.nancy": "ENGINE",
        "marks.zenith": "ENGINE",
        "executions.zenith.0": "ENGINE",
    },
}
"""By role: what it may publish, and the account to which that passes."""
HEARS = {
    "operator": ("_INBOX_operator.>", "heads.>", "hosts.>"),
    "auditor": ("_INBOX_auditor.>", "heads.>", "hosts.>"),
    "market_data": ("_INBOX_market_data.>",),
    "broker_acme": ("_INBOX_broker_acme.>", "broker.acme.>"),
    "broker_zenith": ("_INBOX_broker_zenith.>", "broker.zenith.>"),
}
"""By role: what it may subscribe to in its own account."""
HEARS_OF_OTHERS = {
    "operator": {("ENGINE", "heads.follower.0"), ("ENGINE", "hosts.follower-1")},
    "auditor": {("ENGINE", "heads.follower.0"), ("ENGINE", "hosts.follower-1")},
    "market_data": set(),
    "broker_acme": {("ENGINE", "broker.acme.orders"), ("OPERATORS", "broker.acme.corrections")},
    "broker_zenith": {
        ("ENGINE", "broker.zenith.orders"),
        ("OPERATORS", "broker.zenith.corrections"),
    },
}
"""By role: the accounts and subjects whose messages pass to it."""
CREATE: dict[str, object] = {
    "stream_name": "INGRESS",
    "config": {"deliver_subject": "journal.follower.0", "ack_policy": "none", "name": "c"},
}
WRITES: dict[str, dict[str, object]] = {
    "$JS.API.STREAM.CREATE.MINE": {"name": "MINE", "subjects": ["mine.>"]},
    "$JS.API.STREAM.UPDATE.INGRESS": {"name": "INGRESS", "subjects": ["fills.>"]},
    "$JS.API.STREAM.DELETE.INGRESS": {},
    "$JS.API.STREAM.PURGE.INGRESS": {},
    "$JS.API.STREAM.MSG.DELETE.JOURNAL_FOLLOWER": {"seq": 1},
    "$JS.API.STREAM.SNAPSHOT.INGRESS": {"deliver_subject": "journal.follower.0"},
    "$JS.API.STREAM.RESTORE.MINE": {"config": {"name": "MINE"}},
    "$JS.API.CONSUMER.CREATE.INGRESS": CREATE,
    "$JS.API.CONSUMER.CREATE.INGRESS.c": CREATE,
    "$JS.API.CONSUMER.CREATE.INGRESS.c.fills.>": CREATE,
    "$JS.API.CONSUMER.DURABLE.CREATE.INGRESS.c": CREATE,
    "$JS.API.CONSUMER.DELETE.INGRESS.engines": {},
    "$JS.API.CONSUMER.MSG.NEXT.INGRESS.engines": {"batch": 1},
    "$JS.API.CONSUMER.LIST.INGRESS": {},
    "$JS.API.ACCOUNT.PURGE.ENGINE": {},
}
OTHERS = (
    *("journal.creator.0", "journal.follower.0", "journal.gateway.0", "deadletter.follower.0"),
    *("heads.follower.0", "hosts.follower-1", "shards.follower.0.inspect"),
    *("commands.bulk", "commands.creator.nancy", "commands.account.a"),
    *(f"fills.{broker}.nancy" for broker in ("acme", "zenith", "third")),
    *(f"marks.{source}" for source in ("acme", "zenith", "market_data")),
    *(f"executions.{broker}.0" for broker in ("acme", "zenith")),
    *("broker.acme.orders", "broker.acme.corrections", "broker.acme.other"),
    *("broker.zenith.orders", "broker.zenith.corrections"),
    *(f"_INBOX_{role}.x.1" for role in ("engine", *ACCOUNTS)),
    *("_INBOX.x", "_R_.abc.def", "$JS.ACK.INGRESS.c.1.1.1.1.1", "$JS.FC.INGRESS.c.x"),
    *("$SYS.REQ.SERVER.PING", "$SYS.REQ.ACCOUNT.ENGINE.CONNZ", "$SYS.ACCOUNT.ENGINE.CONNECT"),
    *("$SYS.REQ.CLAIMS.UPDATE", "$SYS.REQ.USER.INFO", "$SRV.PING", "_GR_.a.b.c"),
    "$JS.EVENT.ADVISORY.API",
)
SUBJECTS = (*OTHERS, *READS, *WRITES)
FILTERS = (
    *(">", "*", "*.>", "*.*", "*.*.*", "*.*.*.*", "_INBOX.>", "_INBOX_engine.>", "_R_.>", "$SYS.>"),
    *("$JS.>", "$JS.API.>", "$JS.ACK.>", "journal.>", "deadletter.>", "heads.>", "hosts.>"),
    *(
        "commands.>",
        "shards.>",
        "fills.>",
        "marks.>",
        "executions.>",
        "broker.>",
        "broker.*.orders",
    ),
    *("broker.acme.>", "broker.zenith.>", *(f"_INBOX_{role}.>" for role in ACCOUNTS), *SUBJECTS),
)
RESERVED = ("_R_.", "$JS.ACK.", "_GR_.")
"""NATS refuses messages with such a reply subject."""
ENGINE_S_OWN = ("_R_.", "_INBOX_engine.", "$JS.EVENT.ADVISORY.", "$JS.API.STREAM.")
HEADERS = {
    "Nats-Trace-Dest": "journal.follower.0",
    "Nats-Rollup": "all",
    "Nats-Schedule": "@at 2030-01-01T00:00:00Z",
    "Nats-Schedule-Target": "journal.follower.0",
    "Nats-Request-Info": '{"acc":"ENGINE"}',
    "Nats-Subject": "journal.follower.0",
    "Nats-Stream": "JOURNAL_FOLLOWER",
}

roles = pytest.mark.parametrize("role", ACCOUNTS)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[AccountsServer]:
    with AccountsServer(tmp_path) as started:
        yield started


def body_of(subject: str, **more: str) -> bytes:
    """Return a body that does harm where it is taken."""
    harmful = (READS | WRITES).get(subject, {})
    return json.dumps({**harmful, **more}).encode()


def strangers(role: str, arrivals: list[Arrival]) -> list[Arrival]:
    """Return what arrived outside of a role's account, and neither passes to there nor is the
    test's own.
    """
    passes = {(account, subject) for subject, account in PASSES[role].items()}
    return [
        seen
        for seen in arrivals
        if seen.account != ACCOUNTS[role]
        and (seen.account, seen.subject) not in passes
        and not (seen.account == "ENGINE" and seen.subject.startswith(ENGINE_S_OWN))
        and not (seen.account in PASSES[role].values() and seen.subject.startswith("_R_."))
        and seen.data != SETTLED
    ]


@roles
async def test_a_message_arrives_where_its_role_may_send_it_and_nowhere_else(
    server: AccountsServer, role: str
) -> None:
    async with watched(server) as seen:
        before = await seen.streams()
        await seen.watch()
        for subject in SUBJECTS:
            await seen.roles[role].publish(subject, body_of(subject, attack=subject))
        await seen.settle()
        for subject in SUBJECTS:
            account = PASSES[role].get(subject)
            data = body_of(subject, attack=subject)
            found = {(it.account, it.subject) for it in seen.arrivals if it.data == data}
            expected = {(ACCOUNTS[role], subject), (account, subject)} if account else set()
            assert found == expected, subject
        assert strangers(role, seen.arrivals) == []
        assert await seen.streams() == before
        assert before.keys() == STREAMS.keys()


@roles
async def test_a_reply_subject_leads_into_its_role_s_own_account_only(
    server: AccountsServer, role: str
) -> None:
    async with watched(server) as seen:
        before = await seen.streams()
        await answer_all(seen)
        await seen.watch()
        for subject in PASSES[role]:
            for reply in SUBJECTS:
                data = body_of(subject, attack=subject, reply=reply)
                await seen.roles[role].publish(subject, data, reply=reply)
        await seen.settle()
        assert strangers(role, seen.arrivals) == []
        assert await seen.streams() == before
        arrived = {(it.account, it.subject, it.data) for it in seen.arrivals}
        for subject, account in PASSES[role].items():
            for reply in SUBJECTS:
                data = body_of(subject, attack=subject, reply=reply)
                passed = (account, subject, data) in arrived
                assert passed != reply.startswith(RESERVED), (subject, reply)


@roles
async def test_headers_of_the_server_s_own_lead_nowhere(server: AccountsServer, role: str) -> None:
    async with watched(server) as seen:
        before = await seen.streams()
        await seen.watch()
        for subject in PASSES[role]:
            for name, value in HEADERS.items():
                await seen.roles[role].publish(subject, body_of(subject), headers={name: value})
        await seen.settle()
        assert strangers(role, seen.arrivals) == []
        assert await seen.streams() == before


async def test_a_message_id_of_one_broker_swallows_no_message_of_another(
    server: AccountsServer,
) -> None:
    async with watched(server) as seen:
        for kind, stream in (("fills", "INGRESS"), ("executions", "EXECUTIONS")):
            for message_id in ("", "zenith/0/1", "1"):
                await seen.roles["broker_acme"].request(
                    f"{kind}.acme.0", b"first", headers={"Nats-Msg-Id": message_id}
                )
            answer = await seen.roles["broker_zenith"].request(f"{kind}.zenith.0", b"fill")
            stored = json.loads(answer.data)
            assert stored["stream"] == stream
            assert "duplicate" not in stored
            kept = await NatsStreams(seen.engine).message(stream, stored["seq"])
            assert kept is not None
            assert (kept.subject, kept.data) == (f"{kind}.zenith.0", b"fill")
            config = (await seen.streams())[stream][0]
            assert config["duplicate_window"] == 100_000_000


@roles
async def test_a_role_hears_its_own_subjects_and_no_others(
    server: AccountsServer, role: str
) -> None:
    async with watched(server) as seen:
        heard: set[bytes] = set()

        def hear(subject: str, reply: str, data: bytes, headers: dict[str, str] | None) -> None:
            heard.add(data)

        for subject_filter in FILTERS:
            for queue in ("", "q"):
                await seen.roles[role].subscribe(subject_filter, hear, queue=queue)
        await seen.settle()
        for account, witness in seen.witnesses.items():
            for subject in OTHERS:
                await witness.publish(subject, f"{account} {subject}".encode())
            await witness.confirm()
        await seen.settle()
        own = {
            (ACCOUNTS[role], subject)
            for subject in OTHERS
            if any(matches(subject_filter, subject) for subject_filter in HEARS[role])
        }
        expected = {f"{at} {subject}".encode() for at, subject in own | HEARS_OF_OTHERS[role]}
        assert heard == expected


async def test_a_broker_s_answer_reaches_the_question_alone_whatever_it_names_for_a_reply(
    server: AccountsServer,
) -> None:
    async with watched(server) as seen:
        before = await seen.streams()
        questions: list[str] = []

        def ask(subject: str, reply: str, data: bytes, headers: dict[str, str] | None) -> None:
            questions.append(reply)

        broker = seen.roles["broker_acme"]
        await broker.subscribe("broker.acme.orders", ask)
        await broker.confirm()
        await seen.watch()
        for reply in SUBJECTS:
            inbox = f"_INBOX_engine.asked.{len(questions)}"
            await seen.engine.publish("broker.acme.orders", b"block", reply=inbox)
            await seen.settle()
            for text in (b"first", b"second"):
                await broker.publish(questions[-1], text + reply.encode(), reply=reply)
            await broker.publish(inbox, b"third" + reply.encode())
            await seen.settle()
            got = [it for it in seen.arrivals if it.account == "ENGINE" and it.subject == inbox]
            expected = [] if reply.startswith(RESERVED) else [b"first" + reply.encode()]
            assert [it.data for it in got] == expected, reply
            for answer in got:
                # A gateway answers no answer. Were it to, the broker's own account would get it.
                assert answer.reply.startswith("_R_.")
                await seen.engine.publish(answer.reply, b"careless")
        await seen.settle()
        careless = {it.account for it in seen.arrivals if it.data == b"careless"}
        assert careless == {"ENGINE", "BROKER_acme"}
        unasked = [
            it
            for it in seen.arrivals
            if it.account not in ("ENGINE", "BROKER_acme")
            or (it.account == "ENGINE" and it.data.startswith((b"second", b"third")))
        ]
        assert unasked == []
        assert await seen.streams() == before


@roles
async def test_whatever_a_role_may_ask_is_answered(server: AccountsServer, role: str) -> None:
    async with watched(server) as seen:
        await answer_all(seen)
        connection = seen.roles[role]
        for subject in PASSES[role]:
            answer = (await connection.request(subject, body_of(subject))).data
            is_read = subject.startswith("$JS.API.")
            assert b'"error"' not in answer and b"code" not in answer, subject
            assert answer.startswith(ANSWER) or is_read or b'"stream"' in answer, subject
        assert (await connection.request(next(iter(PASSES[role])), b"x")).data


async def test_an_auditor_reads_a_journal_in_batches(server: AccountsServer) -> None:
    async with watched(server) as seen:
        for number in range(3):
            await seen.engine.request("journal.follower.0", b"frame %d" % number)
        journal = NatsJournal(seen.roles["auditor"])
        frames = await journal.read(ShardKey(ShardKind.FOLLOWER, 0), after_sequence=0)
        assert [frame.data for frame in frames] == [b"frame", b"frame 0", b"frame 1", b"frame 2"]


async def test_an_order_that_no_broker_takes_is_told_at_once(server: AccountsServer) -> None:
    async with watched(server) as seen:
        for subject in ("broker.acme.orders", "broker.zenith.orders"):
            with pytest.raises(OperatingError, match="nobody listens"):
                await seen.engine.request(subject, b"block", deadline_s=30)
        for subject in ("commands.bulk", "broker.acme.corrections"):
            with pytest.raises(OperatingError, match="nobody listens"):
                await seen.roles["operator"].request(subject, b"{}", deadline_s=30)


async def answer_all(seen: Watched) -> None:
    """Let the engine and the brokers answer every request that passes to them."""
    for subject in ("commands.>", "shards.>"):
        await seen.answer("engine", subject)
    for broker in ("acme", "zenith"):
        await seen.answer(f"broker_{broker}", f"broker.{broker}.corrections")
