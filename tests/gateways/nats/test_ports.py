"""The NATS adapters pass the contracts on a real nats-server."""

import pytest

from tests.gateways.conftest import World
from tests.gateways.contracts import BusContract, JournalContract, StreamsContract

pytestmark = pytest.mark.real


class TestNatsJournal(JournalContract):
    @pytest.fixture
    def world(self, nats_world: World) -> World:
        return nats_world


class TestNatsStreams(StreamsContract):
    @pytest.fixture
    def world(self, nats_world: World) -> World:
        return nats_world


class TestNatsBus(BusContract):
    @pytest.fixture
    def world(self, nats_world: World) -> World:
        return nats_world
