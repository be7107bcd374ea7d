"""Spare hosts, on a real Ray."""

import pytest

from tests.actors.host.ray_program import printed

pytestmark = pytest.mark.real


def test_a_spare_takes_the_place_of_a_killed_host() -> None:
    """P10: what a process's start costs is paid before it is needed."""
    killed, spare, successor = map(int, printed("tests.actors.host.spare_hosts").split())
    assert successor == spare != killed
