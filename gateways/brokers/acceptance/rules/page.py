"""Where the protocol's page says what a family of rules checks."""

PAGE = "gateways/protocol/broker-programs.md"
SECTIONS = {
    "introduction": ("order-blocks", "Epochs"),
    "answers": ("order-blocks", "Answers"),
    "blocks": ("order-blocks", "Refusals"),
    "malformed": ("bytes", ""),
    "large blocks": ("order-blocks", "Sections"),
    "json": ("orders-in-json", ""),
    "accounts": ("order-blocks", "Accounts"),
    "repeats": ("what-a-broker-does-with-order-ids", ""),
    "cancels": ("order-blocks", "Repeats"),
    "look-ups": ("look-ups", ""),
    "executions": ("executions", ""),
    "restarts": ("what-to-keep", ""),
    "stated": ("stating-the-history", ""),
}
"""By family: a heading of the page as links write it, and the first words of the paragraph."""


def place_of(family: str) -> str:
    """Return where the page speaks of a family of rules."""
    heading, paragraph = SECTIONS[family]
    return f"{PAGE}#{heading}" + (f", {paragraph}" if paragraph else "")
