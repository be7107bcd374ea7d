"""Progress of long runs: a bar on a terminal, one line per step elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from cluster.terminal.steps import Bar, Silent, Step


class Reporter:
    """Tells on stderr what a benchmark is doing."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, markup=False, highlight=False)

    def say(self, text: str) -> None:
        """Print one line."""
        self._console.print(text, soft_wrap=True)

    @contextmanager
    def step(self, text: str, total: int) -> Iterator[Step]:
        """Show a step of the given number of units."""
        if not self._console.is_terminal:
            self.say(text)
            yield Silent()
            return
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._console, transient=True) as progress:
            yield Bar(progress, text, total)
