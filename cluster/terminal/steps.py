"""Steps under way: a bar on a terminal, nothing elsewhere."""

from typing import Protocol

from rich.progress import Progress


class Step(Protocol):
    """A step under way, shown as a bar on a terminal."""

    def advance(self, by: int = 1) -> None:
        """Add to what is done."""

    def reach(self, done: int, of: int) -> None:
        """Set what is done, and of how much."""

    def say(self, text: str) -> None:
        """Change the step's text."""


class Bar:
    """A step as a bar."""

    def __init__(self, progress: Progress, text: str, total: int | None) -> None:
        self._progress = progress
        self._task = progress.add_task(text, total=total)

    def advance(self, by: int = 1) -> None:
        """Add to what is done."""
        self._progress.advance(self._task, by)

    def reach(self, done: int, of: int) -> None:
        """Set what is done, and of how much."""
        self._progress.update(self._task, completed=done, total=of)

    def say(self, text: str) -> None:
        """Change the step's text."""
        self._progress.update(self._task, description=text)


class Silent:
    """A step that nobody sees."""

    def advance(self, by: int = 1) -> None:
        """Show nothing: there is no terminal."""

    def reach(self, done: int, of: int) -> None:
        """Show nothing: there is no terminal."""

    def say(self, text: str) -> None:
        """Show nothing: there is no terminal."""
