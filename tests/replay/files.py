"""Builders of input files for replays."""

from pathlib import Path

from cluster.replay.inputs import Inputs, read_inputs

GOOD = {
    "creators": "creator_id,cash\nann,1000\nben,2000.50\n",
    "followers": "account_id,creator_id,cash\nbob,ann,100\n",
    "fills": "time,fill_id,creator_id,symbol,side,qty,price\n"
    "2026-01-05T15:00:00Z,f1,ann,ACME,buy,1.5,10.25\n",
    "prices": "date,symbol,open,high,low,close\n2026-01-05,ACME,10,11,9,10.5\n",
    "instruments": "symbol,lot,min_notional\nACME,0.01,5\n",
}


def write_inputs(directory: Path, **texts: str | bytes) -> dict[str, Path]:
    """Write the good files, some of them replaced. Returns: their paths by name."""
    paths = {}
    for name, good in GOOD.items():
        text = texts.get(name, good)
        paths[name] = directory / f"{name}.csv"
        paths[name].write_bytes(text if isinstance(text, bytes) else text.encode())
    return paths


def read(directory: Path, **texts: str | bytes) -> Inputs:
    """Write files and read them."""
    return read_inputs(**write_inputs(directory, **texts))
