"""The meaning of each NATS error for the engine: one table for nats-py's exceptions, one for the
server's JetStream error codes.

`tests/gateways/nats/test_errors.py` fails when nats-py has an exception class that is not in the
table.
"""

import nats.errors
import nats.js.errors as js

from actors.errors import (
    OperatingError,
    OutcomeUnknownError,
    PermanentError,
    StreamFullError,
    TransientError,
)

ERROR_KINDS: dict[type[nats.errors.Error], type[OperatingError]] = {
    nats.errors.TimeoutError: OutcomeUnknownError,
    nats.errors.FlushTimeoutError: OutcomeUnknownError,
    nats.errors.DrainTimeoutError: OutcomeUnknownError,
    nats.errors.NoRespondersError: TransientError,
    nats.errors.StaleConnectionError: OutcomeUnknownError,
    nats.errors.UnexpectedEOF: OutcomeUnknownError,
    nats.errors.OutboundBufferLimitError: TransientError,
    nats.errors.ConnectionClosedError: TransientError,
    nats.errors.ConnectionDrainingError: TransientError,
    nats.errors.ConnectionReconnectingError: TransientError,
    nats.errors.NoServersError: TransientError,
    nats.errors.SlowConsumerError: TransientError,
    nats.errors.ProtocolError: OutcomeUnknownError,
    nats.errors.SecureConnRequiredError: PermanentError,
    nats.errors.SecureConnWantedError: PermanentError,
    nats.errors.SecureConnFailedError: PermanentError,
    nats.errors.BadSubscriptionError: PermanentError,
    nats.errors.BadSubjectError: PermanentError,
    nats.errors.BadHeaderError: PermanentError,
    nats.errors.BadTimeoutError: PermanentError,
    nats.errors.AuthorizationError: PermanentError,
    nats.errors.JsonParseError: PermanentError,
    nats.errors.MaxPayloadError: PermanentError,
    nats.errors.InvalidUserCredentialsError: PermanentError,
    nats.errors.InvalidCallbackTypeError: PermanentError,
    nats.errors.ServerNotInPoolError: PermanentError,
    nats.errors.NotJSMessageError: PermanentError,
    nats.errors.MsgAlreadyAckdError: PermanentError,
    nats.errors.Error: OutcomeUnknownError,
    js.Error: OutcomeUnknownError,
    js.APIError: OutcomeUnknownError,
    js.ServiceUnavailableError: TransientError,
    js.ServerError: OutcomeUnknownError,
    js.NotFoundError: PermanentError,
    js.BadRequestError: PermanentError,
    js.ConsumerInvalidResetError: PermanentError,
    js.NoStreamResponseError: TransientError,
    js.TooManyStalledMsgsError: TransientError,
    js.FetchTimeoutError: TransientError,
    js.ConsumerSequenceMismatchError: TransientError,
    js.BucketNotFoundError: PermanentError,
    js.BadBucketError: PermanentError,
    js.KeyValueError: PermanentError,
    js.KeyDeletedError: PermanentError,
    js.KeyNotFoundError: PermanentError,
    js.KeyWrongLastSequenceError: OutcomeUnknownError,
    js.NoKeysError: PermanentError,
    js.KeyHistoryTooLargeError: PermanentError,
    js.InvalidKeyError: PermanentError,
    js.InvalidBucketNameError: PermanentError,
    js.InvalidObjectNameError: PermanentError,
    js.BadObjectMetaError: PermanentError,
    js.LinkIsABucketError: PermanentError,
    js.DigestMismatchError: PermanentError,
    js.ObjectNotFoundError: PermanentError,
    js.ObjectDeletedError: PermanentError,
    js.ObjectAlreadyExists: PermanentError,
    js.KeyValueLimitMarkerTTLNotSupportedError: PermanentError,
}
"""The outcome of the operation that raised a nats-py error."""

WRONG_LAST_SEQUENCE = 10071
STREAM_NOT_FOUND = 10059
STREAM_NAME_IN_USE = 10058
NO_MESSAGE_FOUND = 10037

API_ERROR_KINDS: dict[int, type[OperatingError]] = {
    WRONG_LAST_SEQUENCE: OutcomeUnknownError,
    10164: OutcomeUnknownError,  # another publish with this expectation is in flight
    10201: OutcomeUnknownError,  # the batch holds a message id that is stored
    10077: StreamFullError,  # maximum bytes exceeded
    10054: StreamFullError,  # a held stream (gateways.nats.streams.hold_stream)
    10023: StreamFullError,  # insufficient resources
    10028: StreamFullError,  # memory resources exceeded
    10047: StreamFullError,  # storage resources exceeded
    10167: TransientError,  # the server drops what it cannot queue
    STREAM_NOT_FOUND: PermanentError,
}


def mapped(error: nats.errors.Error | OSError, what: str) -> OperatingError:
    """Return the error of ours for a nats-py error. `what` names the operation."""
    if not isinstance(error, nats.errors.Error):
        return TransientError(f"{what}: {error}")
    kind = next(ERROR_KINDS[base] for base in type(error).__mro__ if base in ERROR_KINDS)
    return kind(f"{what}: {error}"[:300])


def api_error(code: int, error_code: int, description: str, what: str) -> OperatingError:
    """Return the error of ours for a JetStream error answer. `code` is like an HTTP status,
    `error_code` is the server's own.
    """
    kind = API_ERROR_KINDS.get(error_code)
    if kind is None:
        kind = OutcomeUnknownError if code >= 500 else PermanentError
    return kind(f"{what}: the server answered {description!r} (error {error_code})"[:300])
