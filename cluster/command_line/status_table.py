"""`lockstep status` for people: tables of servers, streams and actors, coloured on a terminal."""

from typing import Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from actors.shard.recovery import Phase
from cluster.command_line.status import Actor, ClusterStatus, Shard
from cluster.placement.failures import failure_of
from gateways.nats.stream_usage import StreamUsage

STYLES = {
    "running": "green",
    "live": "green",
    "starting": "yellow",
    "fencing": "yellow",
    "replaying": "yellow",
    "stopped": "yellow",
    "down": "bold red",
    "failed": "bold red",
    "crashed": "bold red",
    "lost": "bold red",
    "silent": "bold red",
    "blocked": "bold red",
}
FULL_SOON = 0.8
"""From this part of its limit on, a stream is shown as a warning."""
FULL = 0.95
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def print_status(status: ClusterStatus) -> None:
    """Print a status as tables, then what needs an operator."""
    console = Console(highlight=False)
    supervisor = status.supervisor["pid"]
    console.print(f"cluster in {status.data}, supervisor {supervisor}", soft_wrap=True)
    if status.trouble:
        console.print(status.trouble, soft_wrap=True, markup=False, style="bold red")
    console.print(_servers(status))
    if status.streams:
        console.print(_streams(status.streams))
    console.print(_actors(status))
    for actor in status.actors:
        for shard in actor.shards:
            if set_aside := set_aside_of(shard):
                console.print(f"{actor.kind} {shard.shard}: {set_aside}", style="yellow")
    for actor in status.actors:
        for shard in actor.shards:
            if shard.trouble:
                text = f"{actor.kind} {shard.shard}: {shard.trouble}"
                console.print(text, soft_wrap=True, markup=False, style="red")
    for actor in status.actors:
        if actor.alarms:
            text = f"{actor.incarnation}: alarms: {alarms_of(actor)}"
            console.print(text, soft_wrap=True, markup=False, style="red")
    for actor in status.actors:
        if actor.error:
            text = f"{actor.incarnation}: {error_of(actor)}"
            console.print(text, soft_wrap=True, markup=False, style="red")


def alarms_of(actor: Actor) -> str:
    """Return the alarms of a host as text."""
    return ", ".join(f"{alarm.name} {alarm.count} (last {alarm.time})" for alarm in actor.alarms)


def _servers(status: ClusterStatus) -> Table:
    table = _table("server", "process", "state", "restarts", "address")
    for server in status.servers:
        restarts = Text(str(server.restarts), style="yellow" if server.restarts else "")
        state = _state(server.state)
        table.add_row(server.name, str(server.pid), state, restarts, server.address or "")
    return table


def _streams(streams: list[StreamUsage]) -> Table:
    table = _table("stream", "messages", "disk", "limit", "used")
    for stream in streams:
        limit = "none" if stream.bytes_max is None else size_text(stream.bytes_max)
        disk = size_text(stream.bytes)
        table.add_row(stream.name, f"{stream.messages:,}", disk, limit, _share(stream))
    return table


def _share(stream: StreamUsage) -> Text:
    share = stream.share
    if share is None:
        return Text("-")
    style = "bold red" if share >= FULL else "yellow" if share >= FULL_SOON else ""
    return Text(f"{share:.1%}", style=style)


def _actors(status: ClusterStatus) -> Table:
    table = _table("actor", "process", "shard", "state", "epoch", "frame", "lag")
    for actor in status.actors:
        for shard in actor.shards:
            lag = ", ".join(f"{name} {count}" for name, count in shard.lag.items())
            table.add_row(
                actor.kind,
                _shown(actor.pid),
                str(shard.shard),
                _state(shard.state),
                _shown(shard.epoch),
                _shown(shard.frame),
                Text(lag, style="yellow" if any(shard.lag.values()) else ""),
            )
    return table


def size_text(size: int) -> str:
    """Return a number of bytes in the largest unit that leaves at least 1, with one decimal."""
    value, unit = float(size), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.1f} {_UNITS[unit]}" if unit else f"{size} {_UNITS[0]}"


def error_of(actor: Actor) -> str:
    """Return a host's error, with what to do where one of its shards stays stopped."""
    has_failed = any(shard.state == Phase.FAILED.value for shard in actor.shards)
    return (
        failure_of(actor.error, actor.pid) if has_failed and actor.pid is not None else actor.error
    )


def set_aside_of(shard: Shard) -> str:
    """Return what a shard has set aside for an operator; empty when there is nothing."""
    counts = shard.counts
    counted = (
        (counts.inputs_quarantined, "inputs quarantined"),
        (counts.snapshots_failing, "snapshots failed in a row"),
        (counts.suspended_creators, "suspended creators"),
        (counts.unanswered_orders, "unanswered orders"),
        (counts.unresolved_orders, "unresolved orders"),
    )
    return ", ".join(f"{count} {name}" for count, name in counted if count)


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    numbers = (
        "process",
        "restarts",
        "epoch",
        "frame",
        "shard",
        "messages",
        "disk",
        "limit",
        "used",
    )
    for column in columns:
        justify: Literal["left", "right"] = "right" if column in numbers else "left"
        table.add_column(column, justify=justify, no_wrap=True)
    return table


def _state(state: str) -> Text:
    return Text(state, style=STYLES.get(state, ""))


def _shown(value: int | None) -> str:
    return "-" if value is None else str(value)
