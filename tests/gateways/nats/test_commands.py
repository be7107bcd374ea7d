"""Commands over a real nats-server."""

from typing import Any

import msgspec
import pytest

from actors.host.command_router import CommandRouter
from gateways.json.format import JsonFormat
from tests.actors.memory_shards import SETTINGS
from tests.gateways.conftest import Adapters

pytestmark = pytest.mark.real


async def test_a_bulk_request_whose_answers_exceed_a_message_is_refused(
    nats_adapters: Adapters,
) -> None:
    """Without an answer the client would send the same request again for ever."""
    router = CommandRouter(nats_adapters.bus, JsonFormat(), SETTINGS, {})
    await router.open()

    async def ask(count: int) -> Any:
        data = msgspec.json.encode([{"type": "?"}] * count)
        return msgspec.json.decode(
            await nats_adapters.bus.request("commands.bulk", data, timeout_s=30)
        )

    answer = await ask(100_000)
    assert answer["reason"] == "size"
    assert "send the same commands again in smaller arrays" in answer["error"]
    assert [answer["reason"] for answer in await ask(1_000)] == ["malformed"] * 1_000
    await router.close()
