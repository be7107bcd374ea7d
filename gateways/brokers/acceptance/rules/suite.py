"""All rules, in the order in which they are run."""

from gateways.brokers.acceptance.rules import (
    accounts,
    answers,
    cancels,
    executions,
    introduction,
    json_messages,
    large_blocks,
    look_ups,
    malformed,
    repeats,
    restarts,
    stated,
    whole_blocks,
)
from gateways.brokers.acceptance.rules.rule import Rule

_OF_FORMAT: dict[str, tuple[Rule, ...]] = {
    "binary": (*whole_blocks.BINARY_RULES, *malformed.RULES, *large_blocks.RULES),
    "json": json_messages.RULES,
}


def rules_of(format: str) -> tuple[Rule, ...]:
    """Return the rules for programs of a format. The last ones look back on everything that the run
    has sent.
    """
    return (
        *introduction.RULES,
        *answers.RULES,
        *whole_blocks.RULES,
        *_OF_FORMAT[format],
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
