"""The credentials file of a data directory."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from cluster.config.credentials import ensure_credentials, read_credentials
from cluster.config.roles import broker_role
from cluster.errors import ClusterError


def test_credentials_are_private_and_stay_the_same(tmp_path: Path) -> None:
    first = ensure_credentials(tmp_path, ["paper"])
    path = tmp_path / "credentials.json"
    assert path.stat().st_mode & 0o777 == 0o600
    second = ensure_credentials(tmp_path, ["paper", "other"])
    assert second.users["engine"] == first.users["engine"]
    assert broker_role("other") in second.users
    assert read_credentials(tmp_path) == second
    assert json.loads(path.read_text())["users"]["engine"]["password"] not in repr(second)
    with pytest.raises(ClusterError, match="expected the credentials"):
        read_credentials(tmp_path / "absent")


def test_a_role_that_there_is_no_more_loses_its_login(tmp_path: Path) -> None:
    first = ensure_credentials(tmp_path, ["paper"])
    path = tmp_path / "credentials.json"
    stored = json.loads(path.read_text())
    stored["users"]["admin"] = {"user": "admin", "password": "old", "inbox_prefix": "_INBOX_admin"}
    del stored["users"]["operator"]
    path.write_text(json.dumps(stored))
    second = ensure_credentials(tmp_path, [])
    assert second.users.keys() == first.users.keys()
    assert second.users["broker_paper"] == first.users["broker_paper"]
    assert read_credentials(tmp_path) == second


def test_the_page_s_command_hands_out_one_broker_s_login_alone(tmp_path: Path) -> None:
    made = ensure_credentials(tmp_path, ["acme", "zenith"])
    page = (Path(__file__).parents[3] / "gateways/protocol/connect.md").read_text()
    [command] = [each for each in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) if "END" in each]
    command = command.replace("DIR/", f"{tmp_path}/")
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True)
    path = tmp_path / "acme.json"
    assert path.stat().st_mode & 0o777 == 0o600
    user = made.users["broker_acme"]
    assert json.loads(path.read_text()) == {
        "nats_url": made.nats_url,
        "users": {
            "broker_acme": {
                "user": user.user,
                "password": user.password,
                "inbox_prefix": user.inbox_prefix,
            }
        },
    }
