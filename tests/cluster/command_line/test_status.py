"""`lockstep status` without servers: refusals, and the wording of shards and their lag. With
servers: tests/faults/kill/test_status.py.
"""

import asyncio
from pathlib import Path

import msgspec
import pytest

from actors.counters import Counters
from actors.shard.progress import CursorProgress, HostAlarm, HostHeartbeat, ShardProgress
from cluster.command_line.cli import main
from cluster.command_line.status import (
    Actor,
    ClusterStatus,
    Server,
    actors_of,
    read_status,
    trouble_of,
)
from cluster.command_line.status_table import alarms_of, error_of, set_aside_of
from cluster.config.credentials import ensure_credentials
from cluster.config.options import Config
from cluster.errors import ClusterError
from cluster.processes.run_file import RunFile
from cluster.running.data_directory import opened
from engine.journal.cursors import NO_ROW
from gateways.nats.heard import Heard


def shard_head(
    kind: str, shard: int, number: int, *cursors: CursorProgress, epoch: int = 1, **counts: int
) -> bytes:
    progress = ShardProgress(
        kind, shard, "x", "live", epoch, number, number, 0, True, cursors, Counters(**counts)
    )
    return msgspec.json.encode(progress)


def heard(*messages: bytes, hosts: tuple[HostHeartbeat, ...] = ()) -> Heard:
    found = Heard()
    for progress in messages:
        found.hear_shard("", "", progress, None)
    for host in hosts:
        found.hear_host("", "", msgspec.json.encode(host), None)
    return found


def test_status_of_nothing_is_one_line_and_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["lockstep", "status", "--data", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith(f"lockstep: {tmp_path}: expected a running cluster, found none")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("server", "shard", "trouble", "is_well"),
    [
        ("running", "live", "", True),
        ("down", "live", "", False),
        ("running", "blocked", "", False),
        ("running", "failed", "", False),
        ("running", "silent", "", False),
        ("running", "replaying", "", False),
        ("running", "live", "disk_full: /data", False),
    ],
)
def test_a_cluster_is_well_while_all_of_it_does_its_work(
    server: str, shard: str, trouble: str, is_well: bool
) -> None:
    status = ClusterStatus(
        data="data",
        supervisor={},
        servers=[Server(name="nats", pid=1, address=None, restarts=0, state=server)],
        streams=[],
        actors=[
            Actor(kind="creator", incarnation="x", pid=2, state=state, error="", shards=[])
            for state in ("live", shard)
        ],
        trouble=trouble,
    )
    assert status.is_well == is_well


def test_a_live_shard_that_cannot_do_its_work_is_blocked_and_says_why() -> None:
    host = HostHeartbeat("host-1", "gateway", 7, {"0": "live", "1": "live"})
    head = msgspec.json.decode(shard_head("gateway", 0, 5))
    blocked = msgspec.json.encode(head | {"trouble": "broker paper: refuses blocks"})
    found = heard(blocked, shard_head("gateway", 1, 5), hosts=(host,))
    [actor] = actors_of(found, {}, [("gateway", 0), ("gateway", 1)])
    assert actor.state == "blocked"
    assert [(shard.state, shard.trouble) for shard in actor.shards] == [
        ("blocked", "broker paper: refuses blocks"),
        ("live", ""),
    ]


async def test_status_of_a_first_start_that_has_no_nats_yet_tells_every_shard_silent(
    tmp_path: Path,
) -> None:
    with opened(tmp_path, Config()):
        ensure_credentials(tmp_path, ["paper"])
        status = await read_status(tmp_path)
    assert status.servers == []
    assert [(actor.kind, actor.state) for actor in status.actors] == [
        ("creator", "silent"),
        ("follower", "silent"),
        ("follower", "silent"),
        ("gateway", "silent"),
    ]


def test_quarantined_inputs_and_suspended_creators_are_shown_if_there_are_any() -> None:
    found = heard(
        shard_head("creator", 0, 10, inputs_quarantined=2, suspended_creators=1, creators=7),
        shard_head("follower", 0, 10, inputs_quarantined=0, suspended_creators=0),
        hosts=(
            HostHeartbeat("creator-0-t-1", "creator", 11, {"0": "live"}),
            HostHeartbeat("follower-0-t-2", "follower", 12, {"0": "crashed"}),
        ),
    )
    actors = actors_of(found, {}, [])
    assert [set_aside_of(actor.shards[0]) for actor in actors] == [
        "2 inputs quarantined, 1 suspended creators",
        "",
    ]
    assert [actor.state for actor in actors] == ["live", "crashed"]


def test_orders_that_need_an_operator_are_shown() -> None:
    found = heard(
        shard_head("follower", 0, 9, unanswered_orders=3),
        shard_head("gateway", 0, 9, unresolved_orders=2),
        shard_head("follower", 1, 9, unanswered_orders=0),
        hosts=(
            HostHeartbeat("follower-0-t-1", "follower", 11, {"0": "live", "1": "live"}),
            HostHeartbeat("gateway-0-t-2", "gateway", 12, {"0": "live"}),
        ),
    )
    shown = [set_aside_of(shard) for actor in actors_of(found, {}, []) for shard in actor.shards]
    assert sorted(shown) == ["", "2 unresolved orders", "3 unanswered orders"]


def test_a_failed_shard_is_shown_with_what_to_do_and_a_crashed_one_with_its_error() -> None:
    found = heard(
        hosts=(
            HostHeartbeat(
                "follower-0-t-1", "follower", 11, {"0": "failed", "1": "live"}, "history was lost"
            ),
            HostHeartbeat("follower-2-t-2", "follower", 12, {"2": "crashed"}, "KeyError: 7"),
        ),
    )
    failed, crashed = (error_of(actor) for actor in actors_of(found, {}, []))
    assert failed == (
        "history was lost; it stays stopped while the others go on: "
        "mend that, then end process 11, and its shards are started again"
    )
    assert crashed == "KeyError: 7"


def test_lag_counts_what_each_input_holds_beyond_the_cursor() -> None:
    cursors = (
        CursorProgress("creator_journal", 0, 7, 70, NO_ROW),
        CursorProgress("executions", 0, 40, 40, NO_ROW),
    )
    found = heard(
        shard_head("creator", 0, 10, CursorProgress("ingress", 0, 90, 90, NO_ROW)),
        shard_head("follower", 1, 5, *cursors),
        shard_head("gateway", 0, 3, queued_orders=12),
        hosts=(
            HostHeartbeat("creator-0-t-1", "creator", 11, {"0": "live"}),
            HostHeartbeat("follower-1-t-2", "follower", 12, {"1": "live"}),
            HostHeartbeat("gateway-0-t-3", "gateway", 13, {"0": "live"}),
        ),
    )
    actors = actors_of(found, {"ingress": 100, "executions.*.1": 42}, [])
    assert [actor.shards[0].lag for actor in actors] == [
        {"ingress": 10},
        {"creator": 3, "executions": 2},
        {"orders": 12},
    ]


def test_a_shard_that_is_not_heard_is_silent_and_superseded_progress_is_ignored() -> None:
    found = heard(
        shard_head("creator", 0, 10, epoch=3),
        shard_head("creator", 0, 9, epoch=2),
        hosts=(HostHeartbeat("creator-0-t-1", "creator", 11, {"0": "replaying"}),),
    )
    actors = actors_of(found, {}, [("creator", 0), ("follower", 0)])
    assert [(actor.kind, actor.pid, actor.state) for actor in actors] == [
        ("creator", 11, "replaying"),
        ("follower", None, "silent"),
    ]
    assert actors[0].shards[0].frame == 10


def test_the_leftovers_of_a_killed_supervisor_are_not_a_running_cluster(tmp_path: Path) -> None:
    run_file = RunFile(tmp_path)
    dead = msgspec.structs.replace(run_file.run.supervisor, started="another boot/1")
    (tmp_path / "run.json").write_bytes(
        msgspec.json.encode(msgspec.structs.replace(run_file.run, supervisor=dead))
    )
    with pytest.raises(ClusterError, match="found what a killed one left"):
        asyncio.run(read_status(tmp_path))


def test_shards_are_blocked_while_the_supervisor_tells_of_a_full_disk() -> None:
    host = HostHeartbeat("creator-0-t-1", "creator", 11, {"0": "live", "1": "replaying"})
    supervisor = HostHeartbeat("supervisor", "supervisor", 10, {}, "disk_full: no room")
    found = heard(shard_head("creator", 0, 10), hosts=(supervisor, host))
    actors = actors_of(found, {}, [("creator", 0)])
    assert [(actor.kind, actor.pid) for actor in actors] == [("creator", 11)]
    assert [shard.state for shard in actors[0].shards] == ["blocked", "replaying"]
    assert trouble_of(found) == "disk_full: no room"
    assert trouble_of(heard(hosts=(host,))) == ""


def test_the_alarms_of_a_host_are_shown_with_count_and_time() -> None:
    alarms = (HostAlarm("order_unanswered", 3, "2030-01-02T03:04:05Z"), HostAlarm("x", 1, "t"))
    host = HostHeartbeat("follower-0-t-1", "follower", 11, {"0": "live"}, alarms=alarms)
    (actor,) = actors_of(heard(hosts=(host,)), {}, [])
    assert alarms_of(actor) == "order_unanswered 3 (last 2030-01-02T03:04:05Z), x 1 (last t)"
