"""A placement plan is a value: computed from the configuration and changed by pure functions. It
never has a shard in two hosts.
"""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.host.shard_kinds import SHARD_KINDS
from cluster.config.file import parse
from cluster.config.options import Config
from cluster.placement.kinds import KIND_NAMES
from cluster.placement.plan import (
    HostSlot,
    PlacementPlan,
    assigned,
    planned,
    released,
    spread,
    with_dedicated,
    with_hosts,
    without_host,
)
from engine.journal.frame import ShardKind

TWO = with_hosts(PlacementPlan(), "follower", [(0, 1), (2,)])


def test_every_kind_of_shard_can_be_placed_and_hosted() -> None:
    names = [kind.name.lower() for kind in ShardKind]
    assert list(KIND_NAMES) == list(SHARD_KINDS) == names
    assert [spec.kind for spec in SHARD_KINDS.values()] == list(ShardKind)


def test_the_default_configuration_has_four_hosts() -> None:
    assert planned(Config()).slots == (
        HostSlot("creator-0", "creator", (0,)),
        HostSlot("follower-0", "follower", (0,)),
        HostSlot("follower-1", "follower", (1,)),
        HostSlot("gateway-0", "gateway", (0,)),
    )


def test_each_broker_has_a_gateway_host_of_its_own() -> None:
    config = parse("[brokers.paper]\n[brokers.other]\n")
    hosts = planned(config).of_kind("gateway")
    assert [(slot.name, slot.shards) for slot in hosts] == [
        ("gateway-0", (0,)),
        ("gateway-1", (1,)),
    ]


@given(st.integers(1, 64), st.integers(1, 64))
def test_shards_are_spread_evenly_with_neighbours_together(count: int, hosts: int) -> None:
    found = spread(count, hosts)
    assert [shard for shards in found for shard in shards] == list(range(count))
    assert len(found) <= min(count, hosts)
    sizes = [len(shards) for shards in found]
    assert max(sizes) == -(-count // min(count, hosts))


def test_a_plan_is_the_same_after_it_was_written_as_json() -> None:
    plan = with_dedicated(planned(Config()), "follower", [2, 5])
    assert msgspec.json.decode(msgspec.json.encode(plan), type=PlacementPlan) == plan


def test_a_plan_that_names_a_shard_or_a_host_twice_is_refused() -> None:
    twice = b'{"slots":[{"name":"a","kind":"follower","shards":[1]},{"name":"%s","kind":"follower",'
    for text, wrong in (
        (twice % b"b" + b'"shards":[1]}]}', "expected each shard once, found follower/1 again"),
        (twice % b"a" + b'"shards":[2]}]}', "expected one host of each name, found a again"),
    ):
        with pytest.raises(msgspec.ValidationError, match=wrong):
            msgspec.json.decode(text, type=PlacementPlan)


def test_shards_move_by_release_and_assignment() -> None:
    left = released(TWO, "follower-0", [0])
    assert left.slot_of("follower", 0) is None
    moved = assigned(left, "follower-2", [0])
    assert [slot.shards for slot in moved.slots] == [(1,), (2, 0)]
    assert TWO.slot("follower-0").shards == (0, 1)


def test_a_shard_that_has_a_host_cannot_be_assigned_to_another() -> None:
    with pytest.raises(ValueError, match="expected each shard once, found follower/0 again"):
        assigned(TWO, "follower-2", [0])


def test_a_shard_is_released_only_by_the_host_that_has_it() -> None:
    with pytest.raises(ValueError, match="host follower-2: expected shards"):
        released(TWO, "follower-2", [0])


def test_shards_of_two_kinds_may_have_one_number() -> None:
    plan = with_hosts(TWO, "creator", [(0,)])
    assert plan.slot_of("creator", 0) == HostSlot("creator-0", "creator", (0,))
    assert plan.slot_of("follower", 0) == TWO.slots[0]


def test_a_dedicated_shard_gets_a_host_of_its_own_once() -> None:
    plan = with_dedicated(TWO, "follower", [5, 2, 9])
    assert [slot.shards for slot in plan.slots] == [(0, 1), (2,), (5,), (9,)]
    assert [slot.name for slot in plan.slots[2:]] == ["follower-5", "follower-9"]
    assert with_dedicated(plan, "follower", [9, 5]) is plan


def test_a_host_is_named_differently_from_every_other_whatever_shards_it_begins_with() -> None:
    plan = with_hosts(released(TWO, "follower-0", [0]), "follower", [(0,), ()])
    assert [slot.name for slot in plan.slots] == [
        "follower-0",
        "follower-2",
        "follower-1",
        "follower-3",
    ]


def test_only_a_host_without_shards_is_dropped() -> None:
    with pytest.raises(ValueError, match="host follower-2: expected no shard"):
        without_host(TWO, "follower-2")
    empty = released(TWO, "follower-2", [2])
    assert [slot.name for slot in without_host(empty, "follower-2").slots] == ["follower-0"]
    with pytest.raises(KeyError):
        without_host(TWO, "follower-7")
