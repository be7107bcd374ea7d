"""The NATS adapters pass the contracts on a real nats-server."""

import pytest

from tests.gateways.conftest import Adapters
from tests.gateways.contracts import BusContract, JournalContract, StreamsContract

pytestmark = pytest.mark.real


class TestNatsJournal(JournalContract):
    @pytest.fixture
    def adapters(self, nats_adapters: Adapters) -> Adapters:
        return nats_adapters


class TestNatsStreams(StreamsContract):
    @pytest.fixture
    def adapters(self, nats_adapters: Adapters) -> Adapters:
        return nats_adapters


class TestNatsBus(BusContract):
    @pytest.fixture
    def adapters(self, nats_adapters: Adapters) -> Adapters:
        return nats_adapters
