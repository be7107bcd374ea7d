"""A host as a process that some inputs really kill, as a fault in a library would: the shipped host
on the shipped adapters.
"""

import asyncio
import os
import signal
from collections.abc import Iterator

import msgspec

from actors.host.host import Connected, Host, HostSpec
from actors.host.logging import set_up_logging
from engine.messages.blocks import Report
from engine.messages.inputs import FillInput
from gateways.connections import ConnectionOptions, connect
from gateways.json.format import JsonFormat


class Mortal(msgspec.Struct, frozen=True):
    """The arguments of such a host."""

    spec: HostSpec
    connection: ConnectionOptions


class MortalWire(JsonFormat):
    """Reads messages; some are the last that its process reads."""

    def fills(self, subject: str, data: bytes, sequence: int) -> Iterator[FillInput]:
        _die_of(data)
        return super().fills(subject, data, sequence)

    def reports(self, subject: str, data: bytes) -> Iterator[Report]:
        _die_of(data)
        return super().reports(subject, data)


def _die_of(data: bytes) -> None:
    if b"poison" in data:
        os.kill(os.getpid(), signal.SIGKILL)


async def _run(mortal: Mortal) -> None:
    async def connected() -> Connected:
        found = await connect(mortal.connection)
        return found._replace(ports=found.ports._replace(message_format=MortalWire()))

    host = Host(mortal.spec, connected)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, host.stop)
    await host.run()


def main(data: bytes) -> None:
    """Run a host until it is stopped, or dies."""
    mortal = msgspec.json.decode(data, type=Mortal)
    set_up_logging(mortal.spec.incarnation)
    asyncio.run(_run(mortal))
