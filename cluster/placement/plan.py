"""Placement as data: the hosts that a cluster should have, and the shards that each of them runs.

A plan is a value. It is computed from the configuration and can be written as JSON. Every change
makes another plan. Nothing here starts anything: `cluster.placement.hosts` carries a plan out.

Promises of every plan: a host's name stands once; a shard stands in at most one host of its kind; a
host has shards of one kind only.
"""

import math
from collections.abc import Iterable, Iterator

import msgspec

from cluster.config.options import Config
from cluster.placement.kinds import PLACED_KINDS


class HostSlot(msgspec.Struct, frozen=True):
    """A host that should run. Its name stays the same while its processes and its shards change."""

    name: str
    kind: str
    shards: tuple[int, ...] = ()


class PlacementPlan(msgspec.Struct, frozen=True):
    """Every host that should run. Raises: ValueError when made with a promise broken."""

    slots: tuple[HostSlot, ...] = ()

    def __post_init__(self) -> None:
        if repeated := _repeated(slot.name for slot in self.slots):
            raise ValueError(f"placement: expected one host of each name, found {repeated} again")
        if repeated := _repeated(
            f"{slot.kind}/{shard}" for slot in self.slots for shard in slot.shards
        ):
            raise ValueError(f"placement: expected each shard once, found {repeated} again")

    def slot(self, name: str) -> HostSlot:
        """Return the host of a name. Raises: KeyError."""
        for slot in self.slots:
            if slot.name == name:
                return slot
        raise KeyError(name)

    def of_kind(self, kind: str) -> Iterator[HostSlot]:
        """Yield the hosts of a kind."""
        return (slot for slot in self.slots if slot.kind == kind)

    def slot_of(self, kind: str, shard: int) -> HostSlot | None:
        """Return the host that a shard is assigned to, None when there is none."""
        return next((slot for slot in self.of_kind(kind) if shard in slot.shards), None)


def planned(config: Config) -> PlacementPlan:
    """Return the plan that a cluster of this configuration begins with."""
    plan = PlacementPlan()
    for placed in PLACED_KINDS:
        hosts = spread(placed.shards_count(config), placed.hosts_count(config))
        plan = with_hosts(plan, placed.name, hosts)
    return plan


def spread(count: int, hosts: int) -> list[tuple[int, ...]]:
    """Spread shards over hosts. Each host gets shards with successive numbers."""
    hosts = min(count, hosts)
    size = math.ceil(count / hosts)
    return [tuple(range(first, min(first + size, count))) for first in range(0, count, size)]


def with_hosts(plan: PlacementPlan, kind: str, hosts: Iterable[tuple[int, ...]]) -> PlacementPlan:
    """Add hosts of a kind, each with its shards. A host is named after its kind and first shard, or
    a number that is free.
    """
    taken = {slot.name for slot in plan.slots}
    new = []
    for shards in hosts:
        number = shards[0] if shards else 0
        while f"{kind}-{number}" in taken:
            number += 1
        new.append(HostSlot(f"{kind}-{number}", kind, shards))
        taken.add(new[-1].name)
    return PlacementPlan((*plan.slots, *new))


def without_host(plan: PlacementPlan, name: str) -> PlacementPlan:
    """Drop a host that has no shard. Raises: KeyError; ValueError when it has any."""
    if plan.slot(name).shards:
        raise ValueError(f"host {name}: expected no shard, found {plan.slot(name).shards}")
    return PlacementPlan(tuple(slot for slot in plan.slots if slot.name != name))


def assigned(plan: PlacementPlan, name: str, shards: Iterable[int]) -> PlacementPlan:
    """Give a host shards that no host has. Raises: KeyError; ValueError when a shard has a host."""
    slot = plan.slot(name)
    return _replaced(plan, slot, (*slot.shards, *shards))


def released(plan: PlacementPlan, name: str, shards: Iterable[int]) -> PlacementPlan:
    """Take shards from a host. Raises: KeyError; ValueError when the host lacks any of them."""
    slot, leaving = plan.slot(name), frozenset(shards)
    if unknown := leaving - frozenset(slot.shards):
        raise ValueError(f"host {name}: expected shards {sorted(unknown)}, found {slot.shards}")
    return _replaced(plan, slot, tuple(shard for shard in slot.shards if shard not in leaving))


def with_dedicated(plan: PlacementPlan, kind: str, shards: Iterable[int]) -> PlacementPlan:
    """Give each shard that no host has a host of its own, because it is one account's."""
    known = {shard for slot in plan.of_kind(kind) for shard in slot.shards}
    new = [(shard,) for shard in shards if shard not in known]
    return with_hosts(plan, kind, new) if new else plan


def _replaced(plan: PlacementPlan, old: HostSlot, shards: tuple[int, ...]) -> PlacementPlan:
    new = msgspec.structs.replace(old, shards=shards)
    return PlacementPlan(tuple(new if slot is old else slot for slot in plan.slots))


def _repeated(names: Iterable[str]) -> str:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return ""
