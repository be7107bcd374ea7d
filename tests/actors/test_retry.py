"""Only an operation that is safe to repeat is repeated, and until it succeeds."""

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from actors.backoff import Backoff
from actors.errors import (
    OperatingError,
    OutcomeUnknownError,
    PermanentError,
    StreamFullError,
    TransientError,
)
from actors.retry import retry_until_done


class Attempts:
    """Fails with the given errors, then answers 7."""

    def __init__(self, *failures: Exception) -> None:
        self._failures: Iterator[Exception] = iter(failures)
        self.count = 0

    async def __call__(self) -> int:
        self.count += 1
        for failure in self._failures:
            raise failure
        return 7


def pauses() -> Backoff:
    return Backoff(0.0, 0.0)


async def test_an_attempt_that_succeeds_is_made_once() -> None:
    attempt = Attempts()
    assert await retry_until_done("x", attempt) == 7
    assert attempt.count == 1


async def test_transient_failures_and_unknown_outcomes_are_tried_again() -> None:
    attempt = Attempts(TransientError("away"), OutcomeUnknownError("no answer"))
    assert await retry_until_done("x", attempt, backoff=pauses()) == 7
    assert attempt.count == 3


@pytest.mark.parametrize("failure", [PermanentError("wrong"), ValueError("a fault of ours")])
async def test_permanent_errors_are_raised_at_once(failure: Exception) -> None:
    attempt = Attempts(failure)
    with pytest.raises(type(failure)):
        await retry_until_done("x", attempt, backoff=pauses())
    assert attempt.count == 1


async def test_a_full_stream_is_an_alarm_and_any_other_failure_a_warning() -> None:
    attempt = Attempts(StreamFullError("full"), TransientError("away"))
    with capture_logs() as logs:
        await retry_until_done("x", attempt, backoff=pauses())
    assert logs == [
        {"event": "stream_full", "log_level": "error", "what": "x", "error": "full", "alarm": True},
        {"event": "retrying", "log_level": "warning", "what": "x", "error": "away"},
    ]


async def test_failures_go_to_a_given_report_instead_of_the_log() -> None:
    told: list[tuple[str, str]] = []

    def report(what: str, error: OperatingError) -> None:
        told.append((what, str(error)))

    attempt = Attempts(TransientError("away"), StreamFullError("full"))
    with capture_logs() as logs:
        await retry_until_done("x", attempt, backoff=pauses(), report=report)
    assert told == [("x", "away"), ("x", "full")] and logs == []


async def test_each_failure_takes_the_next_pause() -> None:
    backoff = Backoff(0.001, 0.004)
    await retry_until_done("x", Attempts(*[TransientError("away")] * 2), backoff=backoff)
    assert backoff.next_s() == 0.004
