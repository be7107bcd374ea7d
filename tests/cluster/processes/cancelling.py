"""Cancelling a coroutine at an await point of one's choosing, so that a test can try them all."""

import asyncio
from collections.abc import Coroutine, Generator
from functools import partial
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class CancelledAt(Generic[T]):
    """Awaits a coroutine and has the task cancelled at its await point number `point`, and at the
    `again` ones that follow.
    """

    def __init__(self, work: Coroutine[Any, Any, T], point: int, *, again: int = 0) -> None:
        self._work = work
        self._points = range(point, point + 1 + again)
        self.was_cancelled = False

    def __await__(self) -> Generator[Any, Any, T]:
        task, inner = asyncio.current_task(), self._work.__await__()
        assert task is not None
        resume, number = partial(inner.send, None), 0
        while True:
            try:
                waited_for = resume()
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]
            if number in self._points:
                self.was_cancelled = True
                task.cancel()
            number += 1
            try:
                yield waited_for
            except BaseException as error:  # noqa: BLE001
                resume = partial(inner.throw, error)
            else:
                resume = partial(inner.send, None)
