"""Seeded rounds over all parts of a cluster under load, then drain and audit.

    python -m tests.faults.kill --rounds N --seed S

Each round strikes at a random moment:

- kill -9 of one part, of two at once, or of one while another recovers;
- SIGSTOP until the part is replaced, then SIGCONT;
- kill -9 of the supervisor and everything else, followed by `lockstep up`.

Nobody repairs anything. Exit code 1 on any violation.
"""

import argparse
import asyncio
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults.kill.checks import check
from tests.faults.kill.running import RunningCluster
from tests.faults.kill.strikes import HOSTS, PARTS, SERVERS, Victim, is_replaced, victims
from tests.load import Load, LoadSettings

REPLACED_S_MAX = 60.0
WEIGHTS = {"kill": 40, "two": 25, "during recovery": 15, "stop": 15, "everything": 5}
PART_WEIGHTS = [1 if part in ("raylet", "gcs_server") else 5 for part in PARTS]
CHECK_EVERY = 10
"""Rounds after which the load pauses and everything is checked, so that a violation is found near
its cause.
"""


class Rounds:
    """The rounds on one cluster. The seed chooses each strike and its time; the machine decides
    what it hits.
    """

    def __init__(self, cluster: RunningCluster, load: Load, seed: int) -> None:
        self._cluster = cluster
        self._load = load
        self._random = random.Random(seed)
        self._struck: list[Victim] = []

    async def play(self, number: int) -> None:
        """Play one round."""
        kind = self._random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        parts = self._random.choices(PARTS, PART_WEIGHTS, k=2)
        moments = [self._random.uniform(0.0, 1.5), self._random.uniform(0.0, 3.0)]
        stopped_part, waits = (
            self._random.choice((*HOSTS, *HOSTS, *SERVERS)),
            self._random.random() < 0.6,
        )
        await asyncio.sleep(moments[0])
        self._struck = []
        began_s = time.monotonic()
        match kind:
            case "kill":
                struck = await self._strike(parts[:1])
            case "two":
                struck = await self._strike(parts)
            case "during recovery":
                struck = await self._strike(parts[:1])
                await asyncio.sleep(moments[1])
                struck += await self._strike(parts[1:])
            case "stop":
                struck = await self._stop(stopped_part)
            case _:
                struck = ["supervisor and everything"]
                await asyncio.to_thread(self._cluster.kill)
                await asyncio.to_thread(self._cluster.up)
                await self._load.connect()
        names = ", ".join(struck) or "nobody: it ended by itself just before"
        print(f"round {number:3}: {kind:15} {names}", flush=True)
        if waits:
            await self._until_live()
            print(f"           live again after {time.monotonic() - began_s:.1f} s", flush=True)

    async def _victim(self, part: str) -> Victim:
        """Choose a process of a part, waiting until there is one: it may just be recovering."""

        found: list[Victim] = []

        def is_there() -> bool:
            found[:] = victims(part, self._cluster.run, self._load.heard)
            return bool(found)

        await _until(is_there, f"a live {part}")
        return self._random.choice(found)

    async def _strike(self, parts: list[str]) -> list[str]:
        """Kill one process of each part at once. Returns: whom."""
        chosen = {victim.pid: victim for victim in [await self._victim(part) for part in parts]}
        struck = [victim for victim in chosen.values() if victim.send(signal.SIGKILL)]
        self._struck += struck
        return [str(victim) for victim in struck]

    async def _stop(self, part: str) -> list[str]:
        """Stop a process until it is replaced, then let it go on."""
        victim = await self._victim(part)
        if not victim.send(signal.SIGSTOP):
            return []
        await _until(
            lambda: is_replaced(victim, self._cluster.run, self._load.heard), f"{victim} replaced"
        )
        goes_on = victim.send(signal.SIGCONT)
        return [f"{victim}, {'resumed after' if goes_on else 'ended when'} it was replaced"]

    async def _until_live(self) -> None:
        def is_live() -> bool:
            now_s = time.monotonic()
            shards = self._load.heard.shards
            run, heard = self._cluster.run, self._load.heard
            if not all(is_replaced(victim, run, heard) for victim in self._struck):
                return False
            return len({kind for kind, _ in shards}) == 3 and all(
                progress.phase == "live" and now_s - self._load.heard.heard_s[key] < 1.0
                for key, progress in shards.items()
            )

        await _until(is_live, "every shard live")


async def _until(is_true: Callable[[], bool], what: str) -> None:
    give_up_s = time.monotonic() + REPLACED_S_MAX
    while not is_true():
        if time.monotonic() > give_up_s:
            raise TimeoutError(f"expected {what} within {REPLACED_S_MAX:.0f} s")
        await asyncio.sleep(0.05)


async def play(data: Path, rounds: int, seed: int) -> None:
    """Play all rounds on a new cluster. Raises: AssertionError, TimeoutError on a violation."""
    cluster = RunningCluster(data)
    await asyncio.to_thread(cluster.up)
    try:
        async with Load(
            data, name=f"seed{seed}", seed=seed, settings=LoadSettings(pace_s=0.05)
        ) as load:
            await load.open_all()
            load.start()
            played = Rounds(cluster, load, seed)
            for number in range(1, rounds + 1):
                await played.play(number)
                if number % CHECK_EVERY == 0 or number == rounds:
                    await load.stop()
                    line = await check(cluster, load)
                    print(
                        f"           {len(load.fills)} fills, "
                        f"{len(load.accepted)} commands; {line}",
                        flush=True,
                    )
                    if number < rounds:
                        load.start()
    finally:
        await asyncio.to_thread(cluster.down)


def main() -> int:
    """Parse the arguments and play. Returns: the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.kill",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--keep", action="store_true", help="keep the data directory also when all went well"
    )
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="lockstep-kill-"))
    root.chmod(0o755)
    began_s = time.monotonic()
    print(f"kill: {options.rounds} rounds, seed {options.seed}, in {root}", flush=True)
    try:
        asyncio.run(play(root / "data", options.rounds, options.seed))
    except (AssertionError, TimeoutError, RuntimeError) as error:
        print(f"kill: FAILED with seed {options.seed}: {error}\nkill: kept {root}", file=sys.stderr)
        return 1
    print(
        f"kill: {options.rounds} rounds passed with seed "
        f"{options.seed} in {time.monotonic() - began_s:.0f} s"
    )
    if not options.keep:
        shutil.rmtree(root, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
