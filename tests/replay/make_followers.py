"""Make a followers file for any creators file: accounts in mixed modes with mixed limits, the same
for the same seed.

    python -m tests.replay.make_followers CREATORS.csv FOLLOWERS.csv [accounts] [seed]

Every 500th account is dedicated, at most `DEDICATED_MAX`. One in six accounts follows a second
creator.
"""

import csv
import random
import sys
from collections.abc import Iterator
from pathlib import Path

HEADER = (
    "account_id",
    "creator_id",
    "cash",
    "mode",
    "ratio",
    "amount",
    "max_order_notional",
    "max_position_weight",
    "allow_short",
    "dedicated",
)
DEDICATED_MAX = 2


def make_followers(creators: Path, followers: Path, *, accounts: int = 2000, seed: int = 1) -> None:
    """Write a followers file."""
    with creators.open(newline="", encoding="utf-8-sig") as source:
        creator_ids = [row["creator_id"] for row in csv.DictReader(source)]
    with followers.open("w", newline="", encoding="utf-8") as target:
        writer = csv.writer(target, lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows(_rows(creator_ids, accounts, random.Random(seed)))


def _rows(creator_ids: list[str], accounts: int, chance: random.Random) -> Iterator[list[str]]:
    for number in range(1, accounts + 1):
        account_id = f"acct-{number:06d}"
        is_dedicated = number % 500 == 0 and number // 500 <= DEDICATED_MAX
        followed = chance.sample(
            creator_ids, 1 if chance.random() < 5 / 6 else min(2, len(creator_ids))
        )
        for creator_id in followed:
            yield [account_id, creator_id, *_terms(chance), "true" if is_dedicated else ""]


def _terms(chance: random.Random) -> list[str]:
    """Choose cash, mode and limits; cash is per_row from a hundred to a million."""
    cash = f"{10 ** chance.uniform(2, 6):.2f}"
    mode = chance.choices(("proportional", "fixed_amount", "multiplier"), (6, 2, 2))[0]
    ratio = (
        "" if chance.random() < 0.5 else f"{chance.uniform(0.05, 2.5):.{chance.choice((1, 3, 6))}f}"
    )
    if mode == "multiplier":
        ratio = f"{10 ** chance.uniform(-3, 0):.6f}"
    amount = f"{10 ** chance.uniform(0, 4):.2f}" if mode == "fixed_amount" else ""
    most = f"{10 ** chance.uniform(1, 4.5):.2f}" if chance.random() < 0.25 else ""
    weight = f"{chance.uniform(0.02, 0.6):.3f}" if chance.random() < 0.25 else ""
    return [cash, mode, ratio, amount, most, weight, chance.choice(("", "true", "false"))]


if __name__ == "__main__":
    sizes = dict(zip(("accounts", "seed"), map(int, sys.argv[3:5]), strict=False))
    make_followers(Path(sys.argv[1]), Path(sys.argv[2]), **sizes)
