"""The things that every decision of a follower shard starts from."""

from typing import NamedTuple

from engine.follower.state import FollowerState
from engine.values.copy_policy import CopyPolicy


class Deciding(NamedTuple):
    """The state that is decided on, the policy, and the event time. Units: ns since the epoch."""

    state: FollowerState
    policy: CopyPolicy
    now_ns: int
