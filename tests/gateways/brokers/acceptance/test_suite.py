"""The suite passes every program that keeps the protocol and fails those that do not."""

import asyncio

import pytest
from msgspec.structs import replace

from gateways.brokers.acceptance.bench import Bench, SuiteOptions
from gateways.brokers.acceptance.rules import answers, executions
from gateways.brokers.acceptance.rules.rule import (
    ALL_CLASSES,
    RuleOutcome,
    Verdict,
    lines_of,
    run_rules,
)
from gateways.brokers.acceptance.rules.suite import rules_of
from gateways.brokers.paper.settings import FillSettings
from tests.gateways.brokers.acceptance.plain_broker import Fault
from tests.gateways.brokers.acceptance.programs import PlainProgram, TwinProgram

RULES = rules_of("binary")
LAST = len(answers.LAST_RULES) + len(executions.LAST_RULES)
"""Rules at the end that look back; they always run."""
FAMILIES = {rule.family for rule in RULES}


PATIENT = SuiteOptions(answer_s=0.3, lifetime_s=0.2, kills=3)
"""For programs that keep the rules: only what never comes is waited for in vain."""
QUICK = SuiteOptions(answer_s=0.15, lifetime_s=0.1, settle_s=0.15, start_s=1.0, kills=3)


async def verdicts_of(
    program: TwinProgram | PlainProgram, options: SuiteOptions, *families: str
) -> list[Verdict]:
    """Run the rules of some families, and those that look back."""
    rules = [rule for rule in RULES[:-LAST] if rule.family in families] + list(RULES[-LAST:])
    try:
        return await run_rules(rules, Bench(program, options), lambda verdict: None)
    finally:
        await program.kill()


def failures(verdicts: list[Verdict]) -> list[str]:
    return [
        "\n".join(lines_of(verdict))
        for verdict in verdicts
        if verdict.outcome is RuleOutcome.FAILED
    ]


@pytest.mark.parametrize("order_ids", ALL_CLASSES)
async def test_a_broker_of_dictionaries_and_json_passes(order_ids: str) -> None:
    program = PlainProgram(Fault.NONE, order_ids)
    await program.start()
    options = replace(PATIENT, order_ids=order_ids, answer_s=5.0)
    verdicts = await verdicts_of(program, options, *FAMILIES - {"large blocks"})
    assert failures(verdicts) == []
    assert sum(verdict.outcome is RuleOutcome.PASSED for verdict in verdicts) > 45


@pytest.mark.parametrize("order_ids", ALL_CLASSES)
async def test_a_program_that_states_nothing_passes_and_those_rules_are_not_run(
    order_ids: str,
) -> None:
    program = PlainProgram(Fault.STATES_NOTHING, order_ids)
    await program.start()
    options = replace(PATIENT, order_ids=order_ids, answer_s=5.0)
    verdicts = await verdicts_of(program, options, "introduction", "look-ups", "stated")
    assert failures(verdicts) == []
    left = [each.found for each in verdicts if each.rule.family == "stated"]
    assert left == [
        "the program does not state a code",
        "the program does not state a code",
        "the program does not state its history",
        "the program does not state its history",
        "the program does not state a code",
        "the program does not state its history",
    ]


@pytest.mark.parametrize(
    "settings",
    [
        FillSettings(),
        FillSettings(fill_delay_ms=20, partial_fill_slices=3, reject_ratio_micros=200_000),
        FillSettings(order_ids="looked_up", duplicate_executions=True),
        FillSettings(order_ids="unchecked", fee_rate_micros=1000, slippage_micros=500),
    ],
)
async def test_the_paper_brokers_twin_passes(settings: FillSettings) -> None:
    options = replace(PATIENT, order_ids=settings.order_ids)
    verdicts = await verdicts_of(TwinProgram(settings), options, *FAMILIES - {"large blocks"})
    assert failures(verdicts) == []


FAULTS = [
    (Fault.TAKES_OLD_EPOCHS, "refused", "introduction", "a block of a lower epoch is refused"),
    (Fault.FORGETS_THE_EPOCH, "refused", "introduction", "after the program was killed, too"),
    (
        Fault.LEARNS_EPOCHS_OF_REFUSED_BLOCKS,
        "refused",
        "introduction",
        "refused for its content raises no epoch",
    ),
    (Fault.NEEDS_NO_EPOCH, "refused", "introduction", "does not begin with a GatewayEpoch"),
    (Fault.ANSWERS_TWICE, "refused", "answers", "no block of this run was answered twice"),
    (Fault.COUNTS_THE_LAST_SECTION_ONLY, "refused", "answers", "counts all orders of a block"),
    (Fault.APPLIES_HALF_A_BLOCK, "refused", "blocks", "refused whole for a quantity of zero"),
    (Fault.APPLIES_HALF_A_BLOCK, "unchecked", "blocks", "executed whose block was refused"),
    (Fault.CHECKS_NO_ORDERS, "refused", "blocks", "an account number that is not registered"),
    (Fault.REFUSES_OPTIONAL_SECTIONS, "refused", "blocks", "not required is skipped"),
    (Fault.TAKES_SMALL_BLOCKS_ONLY, "refused", "large blocks", "a block of 256 sections"),
    (Fault.ACCEPTS_JUNK, "refused", "malformed", "bytes that are no block are refused"),
    (Fault.DIES_OF_JUNK, "refused", "malformed", "bytes that are no block are refused"),
    (Fault.RENAMES_ACCOUNTS, "refused", "accounts", "never given to a second account"),
    (Fault.FORGETS_ACCOUNTS, "refused", "accounts", "without registering them again"),
    (Fault.PLACES_IDS_AGAIN, "refused", "repeats", "that come again are counted as repeated"),
    (Fault.PLACES_IDS_AGAIN, "refused", "repeats", "filled beyond its quantity"),
    (Fault.FORGETS_IDS, "refused", "repeats", "ids are known after the program was killed"),
    (Fault.REFUSES_BLOCKS_WITH_OLD_IDS, "refused", "repeats", "for an order that was taken"),
    (Fault.CANCELS_WHAT_IS_DONE, "refused", "cancels", "a cancel of an order that is done"),
    (Fault.CANCELS_WHAT_NEVER_CAME, "refused", "cancels", "a cancel of an order that never came"),
    (Fault.TAKES_OLD_ROUNDS, "looked_up", "look-ups", "a block of a lower round is refused whole"),
    (Fault.FORGETS_THE_ROUND, "looked_up", "look-ups", "after the program was killed"),
    (Fault.KNOWS_NO_ORDERS, "looked_up", "look-ups", "the orders ever taken"),
    (Fault.ANSWERS_LOOK_UPS_BACKWARDS, "looked_up", "look-ups", "in order: the orders ever taken"),
    (Fault.ANSWERS_BEFORE_WRITING, "refused", "restarts", "killed right after an answer"),
    (Fault.ANSWERS_BEFORE_WRITING, "looked_up", "restarts", "killed right after an answer"),
    (Fault.ANSWERS_BEFORE_WRITING, "unchecked", "restarts", "killed right after an answer"),
    (Fault.WRITES_HALF_BLOCKS, "refused", "restarts", "each block whole or not at all"),
    (Fault.WRITES_HALF_BLOCKS, "looked_up", "restarts", "each block whole or not at all"),
    (Fault.PUBLISHES_ONCE_ONLY, "refused", "restarts", "could not be stored are published again"),
    (Fault.FORGETS_EXECUTIONS, "refused", "restarts", "that were not confirmed are published"),
    (Fault.NUMBERS_EXECUTIONS_ANEW, "refused", "restarts", "filled beyond its quantity"),
    (Fault.FILLS_TOO_MUCH, "refused", "executions", "filled beyond its quantity"),
    (Fault.IGNORES_LIMITS, "refused", "executions", "traded beyond its limit"),
    (Fault.IGNORES_EXPIRY, "refused", "executions", "traded at or after its expiry"),
    (Fault.NEVER_ENDS_ONE, "refused", "answers", "every order that was taken has ended"),
    (Fault.PUBLISHES_UNDER_ANOTHER_SHARD, "refused", "executions", "Lockstep can read every"),
    (Fault.PUBLISHES_UNREADABLE_JSON, "refused", "executions", "Lockstep can read every message"),
    (Fault.HAS_ONE_CODE_ONLY, "refused", "stated", "an answer has the code of its kind"),
    (Fault.HAS_ONE_CODE_ONLY, "looked_up", "look-ups", "a block of a lower round is refused"),
    (Fault.TAKES_OTHER_CLUSTERS, "refused", "stated", "a block of another cluster is refused"),
    (Fault.FORGETS_THE_CLUSTER, "refused", "stated", "another cluster is refused after"),
    (Fault.STATES_THE_LAST_FRAME, "refused", "stated", "the highest frame of each shard"),
    (Fault.FORGETS_FRAMES, "refused", "stated", "known after the program was killed"),
    (Fault.STATES_TOO_FEW_EXECUTIONS, "refused", "stated", "executions stated are those made"),
]


@pytest.mark.parametrize(
    ("fault", "order_ids", "family", "text"),
    FAULTS,
    ids=lambda value: value.name.lower() if isinstance(value, Fault) else None,
)
async def test_a_wrong_program_fails_the_rule_that_it_breaks(
    fault: Fault, order_ids: str, family: str, text: str
) -> None:
    program = PlainProgram(fault, order_ids)
    await program.start()
    # Half a block is found only when a kill hits the middle of its writing.
    kills = 10 if fault is Fault.WRITES_HALF_BLOCKS else QUICK.kills
    options = replace(QUICK, order_ids=order_ids, kills=kills)
    failed = failures(await verdicts_of(program, options, family))
    assert any(text in each for each in failed), "\n".join(failed)


def test_every_fault_is_planted() -> None:
    assert {fault for fault, *_ in FAULTS} == set(Fault) - {Fault.NONE, Fault.STATES_NOTHING}


def test_every_family_of_rules_has_a_fault_that_it_finds() -> None:
    assert {family for _, _, family, _ in FAULTS} == FAMILIES


async def test_a_program_that_cannot_be_restarted_is_checked_for_the_rest() -> None:
    program = TwinProgram(FillSettings())
    program.can_restart = False
    verdicts = await verdicts_of(program, QUICK, "introduction")
    left = [each for each in verdicts if each.outcome is RuleOutcome.NOT_RUN]
    assert [list(lines_of(each)) for each in left] == [
        [
            "not run  introduction  a lower epoch is refused after the program was killed, too"
            "  (no --start command was given)"
        ]
    ]
    assert failures(verdicts) == []


async def test_a_program_that_never_answers_fails_one_rule_and_the_others_are_not_run() -> None:
    program = TwinProgram(FillSettings())
    program.can_restart = False
    await program.kill()
    async with asyncio.timeout(60):
        verdicts = await verdicts_of(program, QUICK, "answers")
    assert "an answer to a block of a GatewayEpoch alone" in "".join(failures(verdicts[:1]))
    assert {verdict.outcome for verdict in verdicts[1:]} == {RuleOutcome.NOT_RUN}
