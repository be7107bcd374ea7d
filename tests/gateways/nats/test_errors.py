"""Every nats-py error class has a meaning; a new one fails here until it is given one."""

import inspect

import nats.errors
import nats.js.errors
import pytest

from actors.errors import (
    OperatingError,
    OutcomeUnknownError,
    PermanentError,
    StreamFullError,
    TransientError,
)
from gateways.nats.errors import ERROR_KINDS, api_error, mapped


def _classes() -> set[type[Exception]]:
    return {
        found
        for module in (nats.errors, nats.js.errors)
        for _, found in inspect.getmembers(module, inspect.isclass)
        if issubclass(found, nats.errors.Error)
    }


def test_every_error_class_of_nats_py_is_mapped() -> None:
    assert _classes() == set(ERROR_KINDS)


@pytest.mark.parametrize(
    ("code", "error_code", "kind"),
    [
        (400, 10071, OutcomeUnknownError),
        (400, 10164, OutcomeUnknownError),
        (400, 10201, OutcomeUnknownError),
        (503, 10077, StreamFullError),
        (404, 10059, PermanentError),
        (400, 99999, PermanentError),
        (503, 99999, OutcomeUnknownError),
    ],
)
def test_server_error_codes_mean_what_the_table_says(
    code: int, error_code: int, kind: type[OperatingError]
) -> None:
    assert type(api_error(code, error_code, "text", "append")) is kind


def test_mapped_errors_keep_what_failed() -> None:
    error = mapped(nats.errors.NoRespondersError(), "request to x")
    assert isinstance(error, TransientError)
    assert "request to x" in str(error)
    assert isinstance(mapped(ConnectionResetError("gone"), "publish"), TransientError)
