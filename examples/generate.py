"""Make the bundled example: four invented creators, two hundred followers, fifteen invented
symbols, four months of prices and fills.

    python examples/generate.py [DIR]

Always the same files. Every price is a random walk rounded to the cent; what creators do is written
down below where it matters (partial decreases, exits, a turn to the short side, tiny fills, a fill
id used twice) and drawn by lot elsewhere.
"""

import csv
import random
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

SEED = 20_260_105
FIRST_DAY = date(2026, 1, 5)
WEEKDAYS = 84
ACCOUNTS = 200

SYMBOLS = {
    "ARBR": "31.40",
    "BLUM": "118.25",
    "CNDR": "9.85",
    "DUNE": "54.10",
    "EMBR": "242.60",
    "FJRD": "17.95",
    "GLDE": "76.30",
    "HRZN": "402.15",
    "IVRY": "5.60",
    "JNPR": "63.75",
    "KELP": "28.05",
    "LUMN": "149.90",
    "MRSH": "12.20",
    "NOVA": "88.45",
    "OPAL": "36.70",
}
CREATORS = {
    "harbor-capital": "1500000.00",
    "maya-trades": "48000.00",
    "senator-oakes": "320000.00",
    "two-pines-fund": "9000000.00",
}
# Whole shares only, and coarser steps, where an exchange would have them.
INSTRUMENTS = {
    "EMBR": ("1", "25.00"),
    "HRZN": ("0.01", "5.00"),
    "IVRY": ("1", ""),
    "LUMN": ("", "10.00"),
}

Fill = tuple[str, str, str, str, str]
"""Creator, symbol, side, quantity and what the quantity means: `shares`, or `part` of what is held.
"""

SCRIPT: dict[int, list[Fill]] = {
    2: [
        ("maya-trades", "CNDR", "buy", "400", "shares"),
        ("senator-oakes", "GLDE", "buy", "250", "shares"),
    ],
    3: [
        ("maya-trades", "IVRY", "buy", "1", "shares"),
        ("two-pines-fund", "HRZN", "buy", "4000", "shares"),
    ],
    6: [
        ("harbor-capital", "EMBR", "buy", "900", "shares"),
        ("maya-trades", "NOVA", "buy", "60", "shares"),
    ],
    11: [
        ("senator-oakes", "GLDE", "sell", "0.4", "part"),
        ("maya-trades", "CNDR", "sell", "0.25", "part"),
    ],
    15: [("maya-trades", "NOVA", "sell", "150", "shares")],
    19: [
        ("two-pines-fund", "HRZN", "sell", "0.1", "part"),
        ("maya-trades", "NOVA", "buy", "90", "shares"),
    ],
    24: [("senator-oakes", "GLDE", "sell", "1", "part")],
    33: [
        ("harbor-capital", "EMBR", "sell", "0.5", "part"),
        ("maya-trades", "CNDR", "sell", "1", "part"),
    ],
    41: [
        ("senator-oakes", "KELP", "sell", "800", "shares"),
        ("maya-trades", "IVRY", "buy", "2", "shares"),
    ],
    52: [
        ("senator-oakes", "KELP", "buy", "1", "part"),
        ("two-pines-fund", "HRZN", "sell", "1", "part"),
    ],
    66: [("harbor-capital", "EMBR", "sell", "1", "part")],
}
REPEATED_DAY = 46
SCRIPTED = {(fill[0], fill[1]) for fills in SCRIPT.values() for fill in fills}
DRAWN_DAYS = tuple(range(4, WEEKDAYS - 2, 2))


def main(directory: Path) -> None:
    """Write the five files."""
    chance = random.Random(SEED)
    days = _weekdays()
    prices = list(_prices(days, chance))
    closes = {(row[0], row[1]): float(row[5]) for row in prices}
    _write(directory / "creators.csv", ("creator_id", "cash"), CREATORS.items())
    _write(directory / "prices.csv", ("date", "symbol", "open", "high", "low", "close"), prices)
    _write(
        directory / "instruments.csv",
        ("symbol", "lot", "min_notional"),
        ((s, *v) for s, v in INSTRUMENTS.items()),
    )
    header = ("time", "fill_id", "creator_id", "symbol", "side", "qty", "price")
    _write(directory / "fills.csv", header, _fills(days, closes, chance))
    _write(directory / "followers.csv", FOLLOWERS_HEADER, _followers(chance))


def _weekdays() -> list[date]:
    days = (FIRST_DAY + timedelta(days=number) for number in range(2 * WEEKDAYS))
    return [day for day in days if day.weekday() < 5][:WEEKDAYS]


def _write(path: Path, header: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as target:
        writer = csv.writer(target, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


# Prices.


def _prices(days: list[date], chance: random.Random) -> Iterator[tuple[str, ...]]:
    last = {symbol: float(price) for symbol, price in SYMBOLS.items()}
    for day in days:
        for symbol, before in last.items():
            opened = before * (1 + chance.gauss(0, 0.004))
            closed = opened * (1 + chance.gauss(0.0006, 0.016))
            high = max(opened, closed) * (1 + abs(chance.gauss(0, 0.005)))
            low = min(opened, closed) * (1 - abs(chance.gauss(0, 0.005)))
            last[symbol] = closed
            yield (
                day.isoformat(),
                symbol,
                *(f"{price:.2f}" for price in (opened, high, low, closed)),
            )


# Fills.


def _fills(
    days: list[date], closes: dict[tuple[str, str], float], chance: random.Random
) -> Iterator[tuple[str, ...]]:
    held: dict[tuple[str, str], int] = defaultdict(int)
    number = 0
    for index, day in enumerate(days):
        wanted = list(SCRIPT.get(index, ()))
        if index in DRAWN_DAYS:
            wanted.append(_drawn(held, closes, day, chance))
        moments = sorted(_moment(day, chance) for _ in wanted)
        for moment, (creator, symbol, side, amount, unit) in zip(moments, wanted, strict=True):
            number += 1
            quantity = _quantity(held[creator, symbol], amount, unit)
            held[creator, symbol] += quantity if side == "buy" else -quantity
            price = closes[day.isoformat(), symbol] * (1 + chance.gauss(0, 0.003))
            row = (f"ex-{number:04d}", creator, symbol, side, str(quantity), f"{price:.2f}")
            yield (moment.isoformat().replace("+00:00", "Z"), *row)
            if index == REPEATED_DAY:
                # The broker says it again, a minute later: it counts once.
                yield ((moment + timedelta(minutes=1)).isoformat().replace("+00:00", "Z"), *row)


def _moment(day: date, chance: random.Random) -> datetime:
    # One in eight fills is at the close itself, after that minute's prices.
    minutes = 390 if chance.random() < 0.125 else chance.randrange(390)
    return datetime(day.year, day.month, day.day, 14, 30, tzinfo=UTC) + timedelta(minutes=minutes)


def _quantity(held: int, amount: str, unit: str) -> int:
    return int(amount) if unit == "shares" else max(1, int(abs(held) * float(amount)))


def _drawn(
    held: dict[tuple[str, str], int],
    closes: dict[tuple[str, str], float],
    day: date,
    chance: random.Random,
) -> Fill:
    """Draw a fill: mostly a buy of 1 to 6 % of the creator's first cash, else a sale of part of a
    position, or all of it.
    """
    creator = chance.choice(list(CREATORS))
    free = [symbol for symbol in SYMBOLS if (creator, symbol) not in SCRIPTED]
    longs = [symbol for symbol in free if held[creator, symbol] > 0]
    if longs and chance.random() < 0.4:
        return creator, chance.choice(longs), "sell", chance.choice(("0.2", "0.5", "1")), "part"
    symbol = chance.choice(free)
    spent = float(CREATORS[creator]) * chance.uniform(0.01, 0.06)
    return (
        creator,
        symbol,
        "buy",
        str(max(1, int(spent / closes[day.isoformat(), symbol]))),
        "shares",
    )


# Followers.

FOLLOWERS_HEADER = (
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
DEDICATED = {40, 120}


def _followers(chance: random.Random) -> Iterator[tuple[str, ...]]:
    for number in range(1, ACCOUNTS + 1):
        account = f"acct-{number:04d}"
        count = chance.choices((1, 2, 3), (70, 24, 6))[0]
        for creator in chance.sample(sorted(CREATORS), count):
            yield (
                account,
                creator,
                *_terms(creator, chance),
                "true" if number in DEDICATED else "",
            )


def _terms(creator: str, chance: random.Random) -> tuple[str, ...]:
    cash = round(10 ** chance.uniform(1.7, 5.2), 2)
    mode = chance.choices(("proportional", "fixed_amount", "multiplier"), (62, 22, 16))[0]
    ratio, amount = "", ""
    if mode == "multiplier":
        # In the creator's own shares: one in three is set far too large for its cash.
        ratio = f"{cash / float(CREATORS[creator]) * chance.choice((0.6, 1, 12)):.6f}"
    elif chance.random() < 0.3:
        ratio = chance.choice(("0.25", "0.5", "1.5", "2"))
    if mode == "fixed_amount":
        amount = chance.choice(("5", "20", "50", "250", "1000"))
    most = chance.choice(("100", "500", "2500")) if chance.random() < 0.15 else ""
    weight = chance.choice(("0.02", "0.05", "0.1")) if chance.random() < 0.15 else ""
    return f"{cash:.2f}", mode, ratio, amount, most, weight, "true" if chance.random() < 0.3 else ""


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
