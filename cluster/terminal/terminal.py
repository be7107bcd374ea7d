"""The terminal: what a command says to a person, and where its log goes.

    log event --> DIR/logs/<command>.log     JSON lines, always
              --> stderr                     text on a terminal, else JSON lines

On a terminal every event is one line: the time, then a sentence. Warnings are yellow, alarms red.
While something loads, starts or drains, a bar below the lines shows how far it is.
"""

import logging
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import msgspec
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from actors.host.logging import set_up_logging
from cluster.terminal.log_format import LogFormat
from cluster.terminal.stderr import lasting_stderr
from cluster.terminal.steps import Bar, Silent, Step

Event = MutableMapping[str, Any]

LEFT_OUT = frozenset({"event", "level", "timestamp", "process", "alarm", "exception"})
"""Fields of an event that no line repeats."""


SENTENCES: dict[str, str] = {
    "cluster_starting": "starting in {data}",
    "cluster_up": "up; NATS listens on {nats_url}",
    "credentials_written": "credentials for other programs are in {path}",
    "how_to_stop": "stop with Ctrl-C, or with: {command}",
    "cluster_down": "down",
    "cluster_not_started": "stopped while starting; nothing of it runs",
    "replay_starting": "starting a cluster in {data}",
    "replay_opening": "opening {creators:,} creators and {subscriptions:,} subscriptions",
    "replay_publishing": "publishing {fills:,} fills and {prices:,} prices",
    "replay_drained": "drained; auditing",
    "replay_writing": "writing the results to {out}",
    "replay_stopping": "stopping the cluster",
    "program_running": "{name} runs (process {pid})",
    "program_ended": "{name} ended with status {status} (process {pid}); starting it again",
    "program_silent": "{name} does not answer (process {pid}); starting it again",
    "program_start_failed": "{name} did not start: {error}; trying again",
    "program_refuses": "{name} refuses to start: {error}",
    "ray_running": "Ray runs at {address}",
    "ray_broken": "Ray lacks {lacking}; starting it anew, with all hosts",
    "ray_start_failed": "Ray did not start: {error}; trying again",
    "host_live": "{kind} host runs shards {shards} (process {pid})",
    "host_ended": "host {incarnation} ended (process {pid}): {reason}; starting it again",
    "shard_failed": "a shard of host {incarnation} failed: {error}",
    "host_alarm": "host {incarnation} raised the alarm {name} ({count} in all); its log says more",
    "retrying": "{what} failed: {error}; trying again",
    "stream_full": "the stream of {what} is full: {error}",
    "disk_full": "the disk of {path} is full: {error}",
    "disk_has_room": "the disk of {path} has room again",
    "nats_restarting": "starting NATS again: {reason}",
    "nats_restart_needed": "NATS may fail to write: {error}",
    "reconnected": "connected to NATS again",
}
"""The sentence for each event that an operator meets; the others are shown with their fields."""


def sentence_of(event: Event) -> str:
    """Return an event as one line of text."""
    template = SENTENCES.get(str(event["event"]))
    if template is not None:
        try:
            return template.format_map(event)
        except KeyError:
            pass
    known = ", ".join(f"{name} {value}" for name, value in event.items() if name not in LEFT_OUT)
    said = str(event["event"]).replace("_", " ")
    return f"{said}: {known}" if known else said


class Terminal:
    """The place where one command speaks; made once, at the command's beginning."""

    def __init__(self, process: str, *, log_path: Path, log_format: LogFormat | None) -> None:
        """Log as `process`, to `log_path` and stderr. A `log_format` of None means text on a
        terminal and JSON elsewhere.
        """
        self._process = process
        self._log_path = log_path
        self._file: IO[bytes] | None = None
        self._is_closed = False
        self._stderr = lasting_stderr()
        self._console = Console(file=self._stderr, markup=False, highlight=False, soft_wrap=True)
        self._watchers: list[Callable[[Event], None]] = []
        is_terminal = self._stderr.isatty()
        self.is_text = log_format is LogFormat.TEXT or (log_format is None and is_terminal)
        self._has_bars = self.is_text and is_terminal

    def take_log(self) -> None:
        """Become the sink of this process's log."""
        set_up_logging(
            self._process,
            render=lambda logger, method, event: ((event,), {}),
            logger_factory=lambda *_: _Sink(self.write),
        )
        logging.basicConfig(handlers=[_StandardLog(self.write)], level=logging.INFO, force=True)

    def close(self) -> None:
        """Close the log file; what is logged after that goes to stderr alone."""
        self._is_closed = True
        if self._file is not None:
            self._file.close()
            self._file = None

    def write(self, event: Event) -> None:
        """Write one event to the file and to stderr."""
        line = msgspec.json.encode(event, enc_hook=str)
        self._write_file(line)
        for watch in self._watchers:
            watch(event)
        if self.is_text:
            # A library's own news is for the file; its warnings concern the operator.
            if not ("logger" in event and event["level"] == "info"):
                self._console.print(_line_of(event))
        else:
            print(line.decode(), file=self._stderr, flush=True)

    def _write_file(self, line: bytes) -> None:
        # The directory is there once the command holds it; before, there is nothing to tell of it.
        if self._file is None and not self._is_closed:
            try:
                if self._log_path.parent.is_dir():
                    self._file = self._log_path.open("ab", buffering=0)
            except OSError:
                return
        if self._file is not None:
            try:
                self._file.write(line + b"\n")
            except OSError:
                # A full disk must not end the command that is to tell of it.
                return

    @contextmanager
    def step(
        self,
        text: str,
        *,
        total: int | None = None,
        watch: Callable[[Event, Step], None] | None = None,
    ) -> Iterator[Step]:
        """Show a step while it lasts. `watch` moves it by the events that are logged meanwhile."""
        if not self._has_bars:
            with self._watching(watch, Silent()) as silent:
                yield silent
            return
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            *((BarColumn(), MofNCompleteColumn()) if total is not None or watch else ()),
            TimeElapsedColumn(),
        )
        with (
            Progress(*columns, console=self._console, transient=True) as progress,
            self._watching(watch, Bar(progress, text, total)) as bar,
        ):
            yield bar

    @contextmanager
    def _watching(self, watch: Callable[[Event, Step], None] | None, step: Step) -> Iterator[Step]:
        if watch is None:
            yield step
            return

        def told(event: Event) -> None:
            watch(event, step)

        self._watchers.append(told)
        try:
            yield step
        finally:
            self._watchers.remove(told)


def hosts_live(event: Event, step: Step) -> None:
    """Move a step by the hosts that become live while a cluster starts."""
    if event["event"] == "host_live":
        step.reach(event["live"], event["of"])


def _line_of(event: Event) -> Text:
    """Return an event as a line with colours."""
    style = "red" if event.get("alarm") or event["level"] in ("error", "critical") else ""
    style = style or ("yellow" if event["level"] == "warning" else "")
    time = datetime.now(UTC).astimezone().strftime("%H:%M:%S")
    said = [("ALARM ", "bold red")] if event.get("alarm") else []
    line = Text.assemble((f"{time}  ", "dim"), *said, (sentence_of(event), style))
    if event.get("exception"):
        line.append(f"\n{event['exception']}", "dim")
    return line


class _Sink:
    """The logger below structlog: each level writes the event."""

    def __init__(self, write: Callable[[Event], None]) -> None:
        self.debug = self.info = self.warning = self.error = self.critical = write
        self.msg = self.log = self.exception = self.failure = write


class _StandardLog(logging.Handler):
    """Takes what libraries log by the standard library."""

    def __init__(self, write: Callable[[Event], None]) -> None:
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record as an event."""
        event: Event = {
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        }
        if record.exc_info:
            event["exception"] = logging.Formatter().formatException(record.exc_info)
        self._write(event)
