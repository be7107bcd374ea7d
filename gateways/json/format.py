"""The `MessageFormat` port over the documented JSON. It turns messages into values of the
engine, and answers into JSON.
"""

from collections.abc import Iterable, Iterator

import msgspec
import numpy as np

from actors.errors import BadInputError
from engine.columns.reductions import all_of, is_any, least, most
from engine.columns.section_types import SectionError, column_of
from engine.messages.answers import Answer
from engine.messages.blocks import (
    REPORT_TYPES,
    CorrectionsReported,
    ExecutionsReported,
    Report,
    is_block,
    sections_in,
    walk_block,
)
from engine.messages.commands import AccountCommand, Command, CreatorCommand
from engine.messages.inputs import FillInput, MarkInput
from engine.values.ids import SHARDS_MAX
from engine.values.order_ids import ATTEMPT_MAX, LEG_MAX, CauseKind, unpack_order_id
from engine.values.order_status import ExecType
from engine.values.units import TIME_MAX_NS
from gateways.json import public
from gateways.json.fields import short_text

EXECUTIONS_MAX = 1 << 18
"""Most executions in one block message."""
SECTIONS_MAX = 1 << 14
"""Most sections in one block message: a section costs its reader more than a row."""
PREFIX_CHARACTERS_MAX = 128
"""Longest beginning of execution ids in a block: it is journaled with every section, and remembered
for ever.
"""


class JsonFormat:
    """Reads and writes what other programs see."""

    def fills(self, subject: str, data: bytes, sequence: int) -> Iterator[FillInput]:
        """Read a message on `fills.<broker>.<creator_id>`."""
        for fill in public.walk_fills(subject, data):
            yield FillInput(
                broker=fill.broker,
                creator_id=fill.creator_id,
                exec_id=fill.exec_id,
                symbol=fill.symbol,
                side=fill.side,
                quantity=fill.last_qty,
                price=fill.last_px,
                transact_time=fill.transact_time_ns,
                sequence=sequence,
                order_id=fill.order_id,
                order_quantity=fill.order_qty,
                position_after=fill.position_after,
                exec_type=fill.exec_type,
                exec_ref_id=fill.exec_ref_id,
            )

    def marks(self, subject: str, data: bytes) -> Iterator[MarkInput]:
        """Read a message on `marks.<broker>`."""
        for mark in public.walk_marks(subject, data):
            yield MarkInput(mark.symbol, mark.px, mark.time_ns)

    def reports(self, subject: str, data: bytes) -> Iterator[Report]:
        """Read a message on `executions.<broker>.<shard>`: a block, or JSON."""
        if is_block(data):
            yield from _reports_of_block(subject, data)
        else:
            for execution in public.walk_executions(subject, data):
                yield _report(execution)

    def creator_command(self, subject: str, data: bytes) -> CreatorCommand:
        """Read a request on `commands.creator.<creator_id>`."""
        command = public.decode_command(subject, data)
        assert isinstance(command, CreatorCommand), "the subject names a creator"
        return command

    def account_command(self, subject: str, data: bytes) -> AccountCommand:
        """Read a request on `commands.account.<account_id>`."""
        command = public.decode_command(subject, data)
        assert isinstance(command, AccountCommand), "the subject names an account"
        return command

    def bulk(self, data: bytes) -> list[AccountCommand | BadInputError]:
        """Read a request on `commands.bulk`."""
        commands: Iterable[AccountCommand | BadInputError] = public.decode_bulk(data)
        return list(commands)

    def answer(self, command: Command, answer: Answer) -> bytes:
        """Write the answer to one command."""
        return public.encode_answer(command, answer)

    def refusal(self, reason: str, text: str) -> bytes:
        """Write a refusal."""
        return public.encode_refused(reason, text)

    def answers(self, answers: list[bytes]) -> bytes:
        """Join the answers to a bulk request."""
        return public.encode_answers(answers)


def _reports_of_block(subject: str, data: bytes) -> Iterator[Report]:
    shard = _shard(subject)
    rows = 0
    try:
        if (count := sections_in(data)) > SECTIONS_MAX:
            raise BadInputError(
                "size", f"block: expected at most {SECTIONS_MAX} sections, found {count}"
            )
        # One section after the other: a column of one value costs its reader memory, not its
        # writer bytes.
        for section in walk_block(data, REPORT_TYPES, EXECUTIONS_MAX):
            rows += len(section.subscriptions)
            if rows > EXECUTIONS_MAX:
                raise BadInputError(
                    "size", f"block: expected at most {EXECUTIONS_MAX} executions, found more"
                )
            _check_report(section, shard)
            yield section
    except SectionError as error:
        raise BadInputError("malformed", str(error)) from error


def _check_report(report: Report, shard: int) -> None:
    """Check that a report of a block can be taken. Raises: BadInputError."""
    if report.follower_shard != shard:
        raise BadInputError(
            "malformed",
            f"block: expected executions of shard {shard}, found shard {report.follower_shard}",
        )
    _check_lengths(report)
    _check_ranges(report)
    _check_types(report)
    short_text(report.prefix, "prefix", PREFIX_CHARACTERS_MAX)
    if isinstance(report, CorrectionsReported):
        _check_references(report)


def _report(execution: public.Execution) -> Report:
    """Make the report of one execution; one that takes another back says which, and what the order
    works again.
    """
    order = unpack_order_id(execution.order_high, execution.order_low)
    report = ExecutionsReported(
        follower_shard=execution.shard,
        prefix=execution.exec_id,
        key=order.key,
        transact_time=execution.transact_time_ns,
        numbers=column_of(-1),
        subscriptions=column_of(order.subscription),
        exec_types=column_of(execution.exec_type),
        quantities=column_of(execution.last_qty),
        prices=column_of(execution.last_px),
        fees=column_of(execution.fee),
        text=execution.text,
    )
    if not execution.exec_ref_id:
        return report
    return CorrectionsReported(
        **msgspec.structs.asdict(report),
        reference_prefix=execution.exec_ref_id,
        reference_numbers=column_of(-1),
        leaves=column_of(execution.leaves_qty),
    )


def _shard(subject: str) -> int:
    shard = subject.rpartition(".")[2]
    if not shard.isdecimal() or len(shard) > 5:
        raise BadInputError(
            "subject",
            f"subject: expected executions.<broker>.<shard number>, found {subject[:60]!r}",
        )
    return int(shard)


_EXEC_TYPES = sorted(int(exec_type) for exec_type in ExecType)
_COLUMNS = ("numbers", "subscriptions", "exec_types", "quantities", "prices", "fees")


def _check_lengths(report: Report) -> None:
    columns = [getattr(report, name) for name in _COLUMNS]
    if isinstance(report, CorrectionsReported):
        columns += (report.reference_numbers, report.leaves)
    lengths = {len(column) for column in columns}
    if lengths == {0} or len(lengths) != 1:
        raise BadInputError(
            "malformed",
            f"block: expected columns of one length above zero, found {sorted(lengths)}",
        )


_KEY_LIMITS = (
    ("cause_kind", len(CauseKind)),
    ("creator_shard", SHARDS_MAX),
    ("cause_number", 1 << 36),
    ("leg", LEG_MAX + 1),
    ("attempt", ATTEMPT_MAX + 1),
)


def _check_references(report: CorrectionsReported) -> None:
    """Check that every row cancels or corrects an execution that could be, and another than
    itself.
    """
    short_text(report.reference_prefix, "reference_prefix", PREFIX_CHARACTERS_MAX)
    is_correction = (report.exec_types == ExecType.TRADE_CANCEL) | (
        report.exec_types == ExecType.TRADE_CORRECT
    )
    if not is_correction.all():
        raise BadInputError(
            "exec_type",
            "block: expected trade cancels and corrects in section 110, found another exec_type",
        )
    numbers = report.reference_numbers
    if int(numbers.min()) < -1 or int(numbers.max()) >= 1 << 62 or int(report.leaves.min()) < 0:
        raise BadInputError(
            "malformed",
            "block: expected reference numbers of -1 or more and leaves of 0 or more, found less",
        )
    if report.prefix == report.reference_prefix and bool((numbers == report.numbers).any()):
        raise BadInputError(
            "id", "block: expected references to other executions, found one to itself"
        )


def _check_types(report: Report) -> None:
    """Check that every row says what happened to its order."""
    types = report.exec_types
    # Most blocks are of one type: to look for each of them costs several times as much.
    if int(types[0]) in _EXEC_TYPES and all_of(types == types[0]):
        return
    known = is_any(types, _EXEC_TYPES)
    if not known.all():
        found = int(report.exec_types[int(np.argmin(known))])
        raise BadInputError(
            "exec_type",
            f"block: expected exec_types of {', '.join(map(str, _EXEC_TYPES))}, found {found}",
        )


def _check_ranges(report: Report) -> None:
    """Check that every row names an order that could be, and that its execution has a number."""
    for name, limit in _KEY_LIMITS:
        value = getattr(report.key, name)
        if not 0 <= value < limit:
            raise BadInputError(
                "order_id", f"block: expected a {name} below {limit}, found {value}"
            )
    if not 0 <= report.transact_time < TIME_MAX_NS:
        raise BadInputError(
            "time",
            "block: expected a transact_time between 1970 and "
            f"2116, found {report.transact_time} ns",
        )
    for name, column, limit in (
        ("numbers", report.numbers, 1 << 62),
        ("subscriptions", report.subscriptions, 1 << 32),
    ):
        low, high = least(column), most(column)
        if low < 0 or high >= limit:
            raise BadInputError(
                "malformed", f"block: expected {name} of 0 to {limit - 1}, found {low} to {high}"
            )
