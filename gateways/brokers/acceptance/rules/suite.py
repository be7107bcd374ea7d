"""All rules, in the order in which they are run."""

from gateways.brokers.acceptance.rules import (
    accounts,
    answers,
    cancels,
    executions,
    introduction,
    large_blocks,
    look_ups,
    malformed,
    repeats,
    restarts,
    stated,
    whole_blocks,
)
from gateways.brokers.acceptance.rules.rule import Rule

RULES: tuple[Rule, ...] = (
    *introduction.RULES,
    *answers.RULES,
    *whole_blocks.RULES,
    *malformed.RULES,
    *large_blocks.RULES,
    *accounts.RULES,
    *repeats.RULES,
    *cancels.RULES,
    *look_ups.RULES,
    *executions.RULES,
    *restarts.RULES,
    *stated.RULES,
    *answers.LAST_RULES,
    *executions.LAST_RULES,
)
"""The last ones look back on everything that the run has sent."""
