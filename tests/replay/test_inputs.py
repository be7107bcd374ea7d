"""Input files are read exactly, or refused with file, line, field, expected and found."""

from pathlib import Path

import pytest

from cluster.replay.csv_table import ERRORS_SHOWN_MAX, InputError
from cluster.replay.inputs import CreatorRow, FillRow, FollowerRow, InstrumentRow, PriceRow
from engine.values.units import time_ns
from tests.replay.files import GOOD, read

CREATORS = "creator_id,cash\n"
FOLLOWERS = "account_id,creator_id,cash\n"
FILLS = "time,fill_id,creator_id,symbol,side,qty,price\n"
PRICES = "date,symbol,open,high,low,close\n"
TIME = "2026-01-05T15:00:00Z"


def test_rows_are_read_exactly(tmp_path: Path) -> None:
    inputs = read(tmp_path)
    assert inputs.creators == [
        CreatorRow(2, "ann", 1_000_000_000),
        CreatorRow(3, "ben", 2_000_500_000),
    ]
    assert inputs.followers == [FollowerRow(2, "bob", "ann", 100_000_000, dedicated=False)]
    assert inputs.fills == [
        FillRow(2, time_ns(TIME), "f1", "ann", "ACME", 1, 150_000_000, 10_250_000)
    ]
    assert inputs.prices == [PriceRow(2, time_ns("2026-01-05T21:00:00Z"), "ACME", 10_500_000)]
    assert inputs.instruments == [InstrumentRow(2, "ACME", "0.01", "5")]


def test_every_term_of_copying_is_read(tmp_path: Path) -> None:
    header = (
        "account_id,creator_id,cash,mode,ratio,amount,"
        "max_order_notional,max_position_weight,allow_short,dedicated\n"
    )
    inputs = read(tmp_path, followers=header + "bob,ann,100,fixed_amount,1.25,10,50,0.3,true,yes\n")
    row = FollowerRow(
        2, "bob", "ann", 10**8, "fixed_amount", 1_250_000, 10**7, 5 * 10**7, 300_000, True, True
    )
    assert inputs.followers == [row]
    assert inputs.dedicated_accounts == {"bob"}


def test_columns_may_come_in_any_order_with_bom_crlf_blank_lines_and_quotes(tmp_path: Path) -> None:
    text = b'\xef\xbb\xbfcash,creator_id\r\n\r\n"1000",ann\r\n 7 , ben \r\n'
    assert read(tmp_path, creators=text).creators == [
        CreatorRow(3, "ann", 10**9),
        CreatorRow(4, "ben", 7 * 10**6),
    ]


def test_a_dedicated_account_is_dedicated_in_all_its_rows(tmp_path: Path) -> None:
    text = "account_id,creator_id,cash,dedicated\nbob,ann,100,\nbob,ben,100,true\n"
    assert [row.dedicated for row in read(tmp_path, followers=text).followers] == [True, True]


def test_a_fill_id_used_twice_is_taken_and_named(tmp_path: Path) -> None:
    row = f"{TIME},f1,ann,ACME,buy,1,10\n"
    inputs = read(tmp_path, fills=FILLS + row + row)
    assert [fill.line for fill in inputs.repeated_fills] == [3]


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("creators", "", "1: header: expected creator_id,cash, found an empty file"),
        ("creators", "creator_id\nann\n", "1: header: expected column cash, found creator_id"),
        ("creators", "creator_id,cash,colour\n", "found 'colour', which is not known"),
        ("creators", "creator_id,cash,cash\n", "found 'cash', which is given twice"),
        ("creators", CREATORS + "ann\n", "2: row: expected 2 fields as in the header, found 1"),
        ("creators", CREATORS + "ann,\n", "2: cash: expected a value, found none"),
        (
            "creators",
            CREATORS + "ann,1e999\n",
            "2: cash: expected at most 100000000000, found '1e999'",
        ),
        ("creators", CREATORS + "ann,0\n", "2: cash: expected a number above zero, found '0'"),
        ("creators", CREATORS + "ann,1_000\n", "2: cash: expected a decimal number, found '1_000'"),
        (
            "creators",
            CREATORS + "ann,0.0000001\n",
            "2: cash: expected at most 6 decimal places, found '0.0000001'",
        ),
        (
            "creators",
            CREATORS + "a b,1\n",
            "2: creator_id: expected 1 to 64 of [A-Za-z0-9_-], found 'a b'",
        ),
        (
            "creators",
            CREATORS + "ann,1\nann,2\n",
            "3: creator_id: expected each once, found 'ann' again, first in line 2",
        ),
        ("creators", b"creator_id,cash\nann,1\xff\n", "2: text: expected UTF-8, found byte 0xff"),
        (
            "creators",
            CREATORS + 'ann,"1\n',
            "2: row: expected comma-separated values, found: unexpected end of data",
        ),
        (
            "followers",
            FOLLOWERS + "bob,eve,1\n",
            "2: creator_id: expected a creator of creators.csv, found 'eve'",
        ),
        (
            "followers",
            FOLLOWERS + "bob,ann,1\nbob,ann,2\n",
            "3: account_id, creator_id: expected each once, found 'bob ann'",
        ),
        (
            "followers",
            "account_id,creator_id,cash,mode\nbob,ann,1,martingale\n",
            "2: mode: expected one of proportional, fix",
        ),
        (
            "followers",
            "account_id,creator_id,cash,mode\nbob,ann,1,fixed_amount\n",
            "2: amount: expected a number above zero",
        ),
        (
            "followers",
            "account_id,creator_id,cash,amount\nbob,ann,1,-1\n",
            "2: amount: expected zero (none) or more, found '-1'",
        ),
        (
            "followers",
            "account_id,creator_id,cash,ratio\nbob,ann,1,0\n",
            "2: ratio: expected a number above zero, found '0'",
        ),
        (
            "followers",
            "account_id,creator_id,cash,allow_short\nbob,ann,1,si\n",
            "2: allow_short: expected true or false",
        ),
        (
            "followers",
            "account_id,creator_id,cash,dedicated\nbob,ann,1,true\nbob,ben,1,false\n",
            "3: dedicated: expected true for account bob as in line 2, found the other",
        ),
        (
            "fills",
            FILLS + "yesterday,f1,ann,ACME,buy,1,1\n",
            "2: time: expected a time like 2026-01-31T20:00:00Z",
        ),
        (
            "fills",
            FILLS + f"{TIME[:-1]},f1,ann,ACME,buy,1,1\n",
            "2: time: expected a time with a zone",
        ),
        (
            "fills",
            FILLS + f"{TIME},f1,eve,ACME,buy,1,1\n",
            "2: creator_id: expected a creator of creators.csv",
        ),
        (
            "fills",
            FILLS + f"{TIME},f1,ann,ACME,hold,1,1\n",
            "2: side: expected one of buy, sell, found 'hold'",
        ),
        (
            "fills",
            FILLS + f"{TIME},f1,ann,ACME,buy,-1,1\n",
            "2: qty: expected a number above zero, found '-1'",
        ),
        (
            "fills",
            FILLS + f"{TIME},f1,ann,ACME,buy,1,0\n",
            "2: price: expected a number above zero, found '0'",
        ),
        (
            "fills",
            FILLS + f"{TIME},f1,ann,{'A' * 33},buy,1,1\n",
            "2: symbol: expected 1 to 32 printable characters",
        ),
        ("fills", FILLS + f"{TIME},f 1,ann,ACME,buy,1,1\n", "2: fill_id: expected 1 to 64 of"),
        ("prices", PRICES + "2026-02-30,ACME,1,1,1,1\n", "2: date: expected a time like"),
        (
            "prices",
            PRICES + "2026-02-03 10,ACME,1,1,1,1\n",
            "2: date: expected a date like 2026-01-31",
        ),
        (
            "prices",
            PRICES + "2026-02-03,ACME,1,x,1,1\n",
            "2: high: expected a decimal number, found 'x'",
        ),
        ("prices", PRICES + 2 * "2026-02-03,ACME,1,1,1,1\n", "3: date, symbol: expected each once"),
        ("instruments", "symbol,lot\nACME,0\n", "2: lot: expected a number above zero, found '0'"),
        (
            "instruments",
            "symbol,lot\nACME,1\nACME,1\n",
            "3: symbol: expected each once, found 'ACME' again",
        ),
    ],
)
def test_wrong_input_is_refused_by_file_line_field_expected_and_found(
    tmp_path: Path, file: str, text: str | bytes, expected: str
) -> None:
    with pytest.raises(InputError) as raised:
        read(tmp_path, **{file: text})
    lines = str(raised.value).splitlines()
    assert any(line.startswith(f"{tmp_path / file}.csv:") and expected in line for line in lines), (
        lines
    )


def test_errors_of_all_files_are_reported_at_once_up_to_a_limit(tmp_path: Path) -> None:
    fills = FILLS + 50 * f"{TIME},f1,ann,ACME,hold,1,1\n"
    with pytest.raises(InputError) as raised:
        read(tmp_path, followers=FOLLOWERS + "bob,ann,nothing\n", fills=fills)
    lines = str(raised.value).splitlines()
    assert len(lines) == 1 + ERRORS_SHOWN_MAX + 1
    assert "followers.csv:2: cash" in lines[0]


def test_wrong_creators_cause_no_errors_in_other_files(tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        read(tmp_path, creators=GOOD["creators"] + "cid,none\n")
    assert len(str(raised.value).splitlines()) == 1


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    from cluster.replay.inputs import read_inputs

    with pytest.raises(InputError, match="expected a readable file, found: No such file"):
        read_inputs(
            creators=tmp_path / "none.csv",
            followers=tmp_path / "none.csv",
            fills=tmp_path / "none.csv",
        )
