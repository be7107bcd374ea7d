"""The introduction of a gateway's owner to its broker, from which on the broker refuses the former
owner's blocks (P5).
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from actors.backoff import Backoff
from actors.errors import OperatingError, TransientError
from actors.retry import retry_until_done
from actors.shard.core import ShardCore
from engine.columns.section_types import SectionError

_log = structlog.get_logger()

AGAIN_S_MIN = 0.2
AGAIN_S_MAX = 5.0

Ask = Callable[..., Awaitable[list[Any]]]
"""Hands sections to the broker, behind those that name the sender. Returns: the answer's
sections.
"""


class Introduction:
    """The introduction of one owner to the broker called `name`.

    `is_journaled` says that submissions are journaled before they leave. Such an owner knows which
    orders its predecessor sent.
    """

    def __init__(self, core: ShardCore, name: str, ask: Ask, *, is_journaled: bool) -> None:
        self._core = core
        self._name = name
        self._ask = ask
        self._is_journaled = is_journaled
        self._introducing: asyncio.Task[None] | None = None
        self.unsent_after: int | None = 0 if is_journaled else None
        """Orders stored after this sequence have not left while they are queued. None until it is
        known how far the former owner may have sent.
        """

    @property
    def is_done(self) -> bool:
        """True once the broker has heard of this owner."""
        return self._introducing is not None and self._introducing.done()

    def begin(self, stream: str) -> None:
        """Begin to tell the broker of this owner. Its orders come from a stream."""
        self._introducing = asyncio.create_task(
            self._introduce(stream), name=f"introduction to {self._name}"
        )
        self._introducing.add_done_callback(lambda _: self._core.inputs.arrived.set())

    async def wait(self) -> None:
        """Wait until the broker has heard of this owner."""
        assert self._introducing is not None
        await self._introducing

    async def close(self) -> None:
        """Stop telling it."""
        if self._introducing is not None:
            self._introducing.cancel()
            await asyncio.gather(self._introducing, return_exceptions=True)

    async def _introduce(self, stream: str) -> None:
        """Introduce this epoch to the broker, then find out how far the former owner may have sent.

        The former owner may have sent any order stored before the broker heard of this epoch. Only
        the broker can say what became of those. Later ones are unsent while they are queued.
        """
        await retry_until_done(
            f"introduction to {self._name}",
            self._tell_epoch,
            backoff=Backoff(AGAIN_S_MIN, AGAIN_S_MAX),
            report=self._log_not_introduced,
        )
        if self._is_journaled:
            return
        streams = self._core.ports.streams
        self.unsent_after = await retry_until_done(
            f"end of {stream}", lambda: streams.last_sequence(stream)
        )

    async def _tell_epoch(self) -> None:
        """Introduce this epoch once. A broker that refuses the block for any other reason than the
        epoch has taken nothing of it.

        Raises: TransientError unless the broker then knows of this epoch, or of a higher one.
        """
        try:
            refusal = (await self._ask())[0].refusal
        except (OperatingError, SectionError) as error:
            refusal = str(error)
        if refusal and not refusal.startswith("epoch"):
            raise TransientError(refusal)

    def _log_not_introduced(self, _: str, error: OperatingError) -> None:
        _log.warning("not_introduced", broker=self._name, error=str(error))
