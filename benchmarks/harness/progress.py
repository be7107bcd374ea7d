"""Progress of long runs: a bar on a terminal, one line per step elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Step(Protocol):
    """A step under way."""

    def advance(self, by: int = 1) -> None:
        """Add to what is done."""
        ...


class _Bar:
    def __init__(self, progress: Progress, text: str, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task(text, total=total)

    def advance(self, by: int = 1) -> None:
        self._progress.advance(self._task, by)


class _Line:
    def advance(self, by: int = 1) -> None:
        pass


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
            yield _Line()
            return
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._console, transient=True) as progress:
            yield _Bar(progress, text, total)
