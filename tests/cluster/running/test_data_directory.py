"""A wrong data directory is refused at once, with what to do, and left as it is."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from cluster.config.file import parse
from cluster.config.options import Config
from cluster.errors import UsageError
from cluster.running.data_directory import in_shard_order, note_streams, opened, read_identity
from cluster.running.wiring import broker_names

ROOT = Path(__file__).parents[3]


def refusal(data: Path, config: Config | None = None) -> str:
    with pytest.raises(UsageError) as caught, opened(data, config or Config()):
        pass
    return str(caught.value)


def test_a_directory_with_other_files_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    assert (
        "expected an empty directory or a cluster's, found thesis.txt in it; name another"
        in refusal(tmp_path)
    )
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("field", ["follower_shards", "creator_shards"])
def test_directory_made_with_other_shard_counts_is_refused_and_left_as_it_is(
    tmp_path: Path, field: str
) -> None:
    with opened(tmp_path, Config()):
        pass
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    told = refusal(tmp_path, parse(f"[cluster]\n{field} = 8"))
    assert (
        f"expected {field} = {getattr(Config().cluster, field)}, as "
        "it was made with, found 8; set it back" in told
    )
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_cluster_keeps_the_id_and_the_streams_that_it_has_made(tmp_path: Path) -> None:
    with opened(tmp_path / "one", Config()):
        note_streams(tmp_path / "one", ["B", "A"])
    first = read_identity(tmp_path / "one")
    assert first is not None and len(first.cluster_id) == 32 and first.streams == ("A", "B")
    with opened(tmp_path / "one", Config()):
        note_streams(tmp_path / "one", ["A", "C"])
    again = read_identity(tmp_path / "one")
    assert again is not None
    assert (again.cluster_id, again.streams) == (first.cluster_id, ("A", "B", "C"))
    with opened(tmp_path / "other", Config()):
        other = read_identity(tmp_path / "other")
    assert other is not None and other.cluster_id != first.cluster_id


def test_a_directory_of_an_older_version_gets_an_id(tmp_path: Path) -> None:
    with opened(tmp_path, Config()):
        pass
    path = tmp_path / "cluster.json"
    kept = msgspec.json.decode(path.read_bytes())
    del kept["cluster_id"], kept["streams"]
    path.write_bytes(msgspec.json.encode(kept))
    with opened(tmp_path, Config()):
        found = read_identity(tmp_path)
    assert found is not None and len(found.cluster_id) == 32


def test_directory_refused_with_other_shard_counts_still_opens_with_its_own(
    tmp_path: Path,
) -> None:
    with opened(tmp_path, Config()):
        pass
    refused = refusal(tmp_path, parse("[cluster]\nfollower_shards = 8"))
    assert "expected follower_shards = 2, as it was made with, found 8" in refused
    with opened(tmp_path, Config()):
        pass


def test_a_broker_keeps_its_gateway_shard_whatever_others_are_added(tmp_path: Path) -> None:
    for text, expected in (
        ("[brokers.paper]", ("paper",)),
        ("[brokers.alpha]\n[brokers.paper]", ("paper", "alpha")),
        (
            "[brokers.zeta]\n[brokers.paper]\n[brokers.alpha]\n[brokers.beta]",
            ("paper", "alpha", "beta", "zeta"),
        ),
    ):
        config = parse(text)
        with opened(tmp_path, config):
            assert broker_names(in_shard_order(tmp_path, config)) == expected
    told = refusal(tmp_path, parse("[brokers.alpha]\n[brokers.beta]\n[brokers.zeta]"))
    assert (
        "expected brokers.paper, which has orders and a journal there, found none; put it back"
        in told
    )


def test_a_directory_without_recorded_brokers_gets_them_sorted(tmp_path: Path) -> None:
    (tmp_path / "cluster.json").write_text(
        '{"format_version": 1, "follower_shards": 2, "creator_shards": 1}'
    )
    config = parse("[brokers.paper]\n[brokers.alpha]")
    with opened(tmp_path, config):
        assert broker_names(in_shard_order(tmp_path, config)) == ("alpha", "paper")


def test_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for data in (tmp_path / "file", tmp_path / "file" / "below"):
        assert "expected a directory that can be made, read and written" in refusal(data)


def test_directory_whose_identity_is_damaged_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cluster.json").write_text("{")
    assert "expected what the cluster was made with" in refusal(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["cluster.json"]


def test_directory_made_by_this_version_opens_again(tmp_path: Path) -> None:
    for _ in range(2):
        with opened(tmp_path / "deep" / "er", Config()) as run_file:
            assert run_file.run.processes == ()


def test_a_directory_and_what_it_holds_are_closed_to_other_users(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with opened(data, Config()):
        (data / "logs" / "old.log").touch(mode=0o644)
        (data / "nats").mkdir(mode=0o755)
    data.chmod(0o755)
    (data / "cluster.json").chmod(0o644)
    with opened(data, Config()):
        modes = {path: path.stat().st_mode for path in (data, *data.rglob("*"))}
        assert {path.name for path, mode in modes.items() if mode & 0o077} == set()
        assert data / "run.json" in modes


def test_a_damaged_identity_is_refused_with_what_to_write(tmp_path: Path) -> None:
    with opened(tmp_path, Config()):
        pass
    whole = (tmp_path / "cluster.json").read_text()
    (tmp_path / "cluster.json").write_text("")
    told = refusal(tmp_path)
    example = told[told.index("{") : told.index("}") + 1]
    assert msgspec.json.decode(example).keys() == msgspec.json.decode(whole).keys()
    (tmp_path / "cluster.json").write_text(example)
    with opened(tmp_path, Config()):
        pass


# Takes from root the rights to pass by what a file's mode says, and changes nothing for others.
WITHOUT_OVERRIDES = """
import ctypes, os
if os.geteuid() == 0:
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    rights = (ctypes.c_uint32 * 6)()
    assert ctypes.CDLL(None, use_errno=True).capset(header, rights) == 0
from cluster.command_line.cli import main
main()
"""


@pytest.mark.parametrize("closed", [".", "logs", "nats", "credentials.json"])
def test_directory_closed_to_this_user_is_refused_with_exit_code_2(
    tmp_path: Path, closed: str
) -> None:
    data = tmp_path / "data"
    with opened(data, Config()):
        (data / "nats").mkdir()
        (data / "credentials.json").touch()
    (data / closed).chmod(0o000)
    command = [sys.executable, "-c", WITHOUT_OVERRIDES, "up", "--data", str(data)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    others = [
        subprocess.run(
            [*command[:3], other, *command[4:]],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        for other in (("status", "down", "audit") if closed == "." else ())
    ]
    (data / closed).chmod(0o755)
    for other in others:
        assert (other.returncode, other.stderr.count("\n")) == (2, 1), other.stderr
        assert "found [Errno 13] Permission denied" in other.stderr
        assert "ask as the user who made it" in other.stderr
    assert found.returncode == 2, found.stderr
    assert found.stderr.startswith(f"lockstep: --data {data}: expected"), found.stderr
    assert "closed to this user; start as the user who made it" in found.stderr
    assert found.stderr.count("\n") == 1
