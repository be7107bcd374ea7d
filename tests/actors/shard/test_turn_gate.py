"""The turn gate: a careful shard has the process to itself, and lets the others in between."""

import asyncio

from actors.shard.turn_gate import TurnGate


async def test_a_careful_shard_has_the_process_to_itself_and_lets_the_others_in_between() -> None:
    gate, seen = TurnGate(), list[str]()

    async def usual(name: str) -> None:
        for _ in range(20):
            await gate.enter()
            seen.append(f"{name} begins")
            await asyncio.sleep(0)
            seen.append(f"{name} ends")
            gate.leave()
            await asyncio.sleep(0)

    async def careful(name: str) -> None:
        for _ in range(20):
            await gate.enter_alone()
            seen.append(f"{name} begins")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            seen.append(f"{name} ends")
            gate.leave_alone()
            await asyncio.sleep(0)

    async with asyncio.timeout(10):
        await asyncio.gather(
            usual("one"), careful("careful"), usual("two"), careful("other careful")
        )
    for name in ("careful", "other careful"):
        begins = [index for index, what in enumerate(seen) if what == f"{name} begins"]
        assert len(begins) == 20
        assert all(seen[index + 1] == f"{name} ends" for index in begins)
    assert {"one begins", "two begins", "careful begins", "other careful begins"} <= set(seen[:20])


async def test_a_careful_shard_waits_for_neighbours_that_recover() -> None:
    gate = TurnGate()
    gate.begin_recovery()
    alone = asyncio.create_task(gate.enter_alone())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not alone.done()
    gate.end_recovery()
    async with asyncio.timeout(10):
        await alone
