"""The counters of a shard: each is declared, described, and published in one form."""

import msgspec
import pytest

from actors.counters import Counters, definitions

UNITS = {
    "accounts",
    "answers",
    "blocks",
    "commands",
    "creators",
    "executions",
    "fills",
    "frames",
    "inputs",
    "messages",
    "orders",
    "passes",
    "signals",
    "snapshots",
    "subscriptions",
    "us",
}


def test_each_counter_has_one_line_of_documentation_and_a_unit() -> None:
    for found in definitions():
        assert found.description.endswith(".") and "\n" not in found.description, found
        assert len(found.description) <= 70, found
        assert found.unit in UNITS, found
    assert [found.name for found in definitions()] == list(Counters.__struct_fields__)


def test_no_two_counters_have_the_same_description() -> None:
    assert len({found.description for found in definitions()}) == len(definitions())


def test_an_undeclared_counter_is_refused() -> None:
    with pytest.raises(AttributeError):
        Counters().__setattr__("orders_lost", 1)


def test_a_count_of_happenings_only_grows() -> None:
    grown = {found.name for found in definitions() if found.only_grows}
    counted = {name for name in Counters.__struct_fields__ if getattr(Counters(), name) == 0}
    assert counted <= grown


def test_a_counter_never_counted_is_left_out_and_a_gauge_at_zero_is_published() -> None:
    counters = Counters(open_orders=0)
    counters.fills_repeated += 2
    assert msgspec.json.decode(msgspec.json.encode(counters)) == {
        "open_orders": 0,
        "fills_repeated": 2,
    }
    assert msgspec.json.encode(Counters()) == b"{}"


def test_counters_of_a_later_version_are_skipped() -> None:
    found = msgspec.json.decode(b'{"open_orders":3,"new_counter":1}', type=Counters)
    assert found == Counters(open_orders=3)
