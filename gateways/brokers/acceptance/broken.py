"""The exceptions of the suite: the program broke a rule, or does not state what a rule is about."""


class Broken(Exception):
    """The program broke a rule: what the rule expects, and what was found."""

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(f"expected {expected}, found {found}")
        self.expected = expected
        self.found = found


class NotStated(Exception):
    """The program does not state what a rule is about. It need not."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the program does not state {what}")


def expect(is_kept: bool, expected: str, found: object) -> None:
    """Raise Broken unless a rule is kept."""
    if not is_kept:
        raise Broken(expected, str(found))
