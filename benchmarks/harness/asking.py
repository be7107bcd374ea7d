"""Asking again until there is a final answer. It is for requests that may be sent twice, because
the engine or the stream takes them once.
"""

import asyncio
from collections.abc import Callable

from actors.errors import OutcomeUnknownError, TransientError
from gateways.nats.connection import NatsConnection


async def ask(
    connection: NatsConnection,
    subject: str,
    data: bytes,
    *,
    deadline_s: float,
    tries_max: int,
    pause_s: float,
    is_final: Callable[[bytes], bool] = lambda answer: True,
) -> bytes | None:
    """Ask until an answer is final. Returns: None when all tries found none."""
    for _ in range(tries_max):
        try:
            answer = (await connection.request(subject, data, deadline_s=deadline_s)).data
            if is_final(answer):
                return answer
        except (OutcomeUnknownError, TransientError):
            # Overloaded, or away for a moment.
            pass
        await asyncio.sleep(pause_s)
    return None
