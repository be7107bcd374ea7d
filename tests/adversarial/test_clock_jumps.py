"""A clock that was hours ahead and is set back: exits are still tried again in time, a restart between or not (P10)."""

import pytest

from engine.commands import Follow, OpenAccount
from engine.events.orders import OrdersPlaced
from engine.frame import ShardKey, ShardKind
from engine.identity import CauseKind, OrderId
from engine.units import NS_PER_S
from tests.adversarial.stage import TIME, Stage, command, hash_of, turns

FOLLOWER = ShardKey(ShardKind.FOLLOWER, 0)
HOURS = 5 * 3600 * NS_PER_S


@pytest.mark.parametrize("restarts", [False, True])
async def test_an_exit_is_tried_again_although_event_time_is_hours_ahead(restarts: bool) -> None:
    stage = Stage()
    creator, follower = await stage.creator(), await stage.follower()
    await stage.open_creator(creator, "anna")
    await turns(follower)
    await command(follower, OpenAccount("open", "a"), Follow("follow", "a", "anna", 10**10, mode=2))

    async def report(signal: int, exec_type: str, **filled: str) -> None:
        order = OrderId(0, CauseKind.SIGNAL, 0, signal, 0, 0, 0)
        body = {
            "exec_id": f"x{signal}", "order_id": str(order), "exec_type": exec_type, "transact_time": TIME
        }  # fmt: skip
        await stage.publish("executions.paper.0", body | filled)
        await turns(creator, follower)

    await stage.publish("fills.paper.anna", stage.fill("AAA"))
    await turns(creator, follower)
    await report(1, "trade", last_qty="10", last_px="100")
    stage.clock.time_ns += HOURS
    await stage.publish("fills.paper.anna", stage.fill("AAA", side="sell"))
    await turns(creator, follower)
    stage.clock.time_ns -= HOURS
    if restarts:
        follower = await stage.follower()
    await report(2, "rejected")
    # One second of backoff is two at half speed; and it takes a frame to begin.
    for _ in range(6):
        stage.clock.time_ns += NS_PER_S // 2
        await turns(follower)
    (again,) = stage.events(FOLLOWER, OrdersPlaced)
    assert (again.attempt, again.quantities.tolist()) == (1, [10 * 10**8])
    assert hash_of(await stage.follower()) == hash_of(follower)
